// The page's icons: 20 × 20 outlines that take the colour of the text around them.

const paths = {
  plus: 'M10 4v12M4 10h12',
  menu: 'M3.5 6h13M3.5 10h13M3.5 14h13',
  send: 'M10 16V4.5M5 9l5-5 5 5',
  stop: 'M6 6h8v8H6z',
  copy: 'M7.5 7.5V4.5h8v8h-3M4.5 7.5h8v8h-8z',
  check: 'M4.5 10.5l3.5 3.5 7.5-8',
  again: 'M15.5 9A5.7 5.7 0 1 0 15 12.5M15.7 4.5V9h-4.5',
  edit: 'M12.5 4.5l3 3L7 16H4v-3zM10.8 6.2l3 3',
  trash: 'M4.5 6h11M8 6V4h4v2M6 6l.7 10h6.6L14 6',
  sliders: 'M4 6.5h7M15 6.5h1M4 13.5h1M9 13.5h7M13 4.5v4M7 11.5v4',
  chart: 'M4 4v12h12M7.5 13v-3M11 13V6.5M14.5 13V9',
  planner: 'M4 5.5h12M4 10h8M4 14.5h5M14 12.5v4M12 14.5h4',
  chat: 'M4 5h12v8.5H9.5L6 16.5v-3H4z',
  sun: 'M10 6.8a3.2 3.2 0 1 0 0 6.4 3.2 3.2 0 0 0 0-6.4M10 2.5v1.6M10 15.9v1.6M2.5 10h1.6M15.9 10h1.6M4.7 4.7l1.1 1.1M14.2 14.2l1.1 1.1M4.7 15.3l1.1-1.1M14.2 5.8l1.1-1.1',
  moon: 'M15.8 11.8A6.3 6.3 0 0 1 8.2 4.2a6.3 6.3 0 1 0 7.6 7.6z',
  auto: 'M10 3.5a6.5 6.5 0 1 0 0 13zM10 3.5a6.5 6.5 0 0 1 0 13',
  close: 'M5 5l10 10M15 5L5 15',
  down: 'M5 8l5 5 5-5',
  right: 'M8 5l5 5-5 5',
  left: 'M12 5l-5 5 5 5',
  tool: 'M12 4.2a4 4 0 0 0-4.6 5.3L3.8 13l2.9 3 3.6-3.6A4 4 0 0 0 15.6 8l-2.3 2.2-2.6-.8-.8-2.6z',
  keys: 'M3 6h14v8.5H3zM6 9h.01M9 9h.01M12 9h.01M14.5 9h.01M6.5 12h7',
  export: 'M10 12V3.8M6.5 7L10 3.5 13.5 7M4 11.5V16h12v-4.5',
  import: 'M10 3.5v8.2M6.5 8.5L10 12l3.5-3.5M4 11.5V16h12v-4.5',
};

export function Icon({ name }) {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}

// A button that is only an icon, with a name for those who can't see it.
export function IconButton({ icon, label, ...rest }) {
  return (
    <button type="button" class="icon-button" aria-label={label} title={label} {...rest}>
      <Icon name={icon} />
    </button>
  );
}
