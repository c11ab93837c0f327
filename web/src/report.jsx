// The planner's report (`ferry plan --html`): one answer, which stands in the file as JSON. See
// build.mjs for the file around it.
import { render } from 'preact';
import { PlanView, workloadText } from './plan_view.jsx';
import './theme.css';
import './plan.css';
import './report.css';

const plan = JSON.parse(document.getElementById('plan').textContent);
document.title = `ferry plan ${plan.model}`;
render(
  <main>
    <h1>{plan.model}</h1>
    <p class="quiet">{workloadText(plan)}</p>
    <PlanView plan={plan} />
  </main>,
  document.getElementById('page'),
);
