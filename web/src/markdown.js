// Markdown of an answer → HTML that is safe to show. A model may write anything, so what marked
// makes is cleaned by DOMPurify down to a short list of elements; images, styles, forms and ids are
// gone, links open elsewhere and tell nobody where they were.
import DOMPurify from 'dompurify';
import { Marked } from 'marked';

const escapes = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escaped = (text) => text.replace(/[&<>"']/g, (c) => escapes[c]);

const marked = new Marked({
  gfm: true,
  breaks: false,
  renderer: {
    // Raw HTML is shown as the text it is.
    html: ({ text }) => escaped(text),
    // An image would be a request to wherever the model says.
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
    code({ text, lang }) {
      const name = escaped((lang ?? '').match(/^[\w+#.-]*/)[0]);
      return (
        `<div class="code"><div class="code-head"><span>${name || 'text'}</span>` +
        '<button type="button" class="copy-code">Copy</button></div>' +
        `<pre tabindex="0"><code>${escaped(text)}</code></pre></div>`
      );
    },
    table(token) {
      const cell = (tag, { tokens, align }) =>
        `<${tag}${align ? ` align="${align}"` : ''}>${this.parser.parseInline(tokens)}</${tag}>`;
      const row = (tag, cells) => `<tr>${cells.map((c) => cell(tag, c)).join('')}</tr>`;
      const body = token.rows.map((cells) => row('td', cells)).join('');
      return (
        `<div class="table" tabindex="0"><table><thead>${row('th', token.header)}</thead>` +
        `<tbody>${body}</tbody></table></div>`
      );
    },
  },
});

const purify = DOMPurify(window);
purify.addHook('afterSanitizeAttributes', (node) => {
  if (node.tagName === 'A') {
    node.setAttribute('target', '_blank');
    node.setAttribute('rel', 'noopener noreferrer nofollow');
  }
  if (node.tagName === 'INPUT') node.setAttribute('disabled', '');
});

const allowed = {
  ALLOWED_TAGS: [
    'a', 'b', 'blockquote', 'br', 'button', 'code', 'del', 'div', 'em', 'h1', 'h2', 'h3', 'h4',
    'h5', 'h6', 'hr', 'i', 'input', 'li', 'ol', 'p', 'pre', 'span', 'strong', 'table', 'tbody',
    'td', 'th', 'thead', 'tr', 'ul',
  ],
  ALLOWED_ATTR: ['align', 'checked', 'class', 'disabled', 'href', 'start', 'tabindex', 'type'],
  // The pattern below is for links; these attributes are none.
  ADD_URI_SAFE_ATTR: ['align', 'checked', 'disabled', 'start', 'tabindex', 'type'],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|#)/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
};

export function toHtml(text) {
  return purify.sanitize(marked.parse(text), allowed);
}
