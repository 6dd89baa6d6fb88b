// Small line charts. What they show is beside them in numbers, too.
import { svg, h } from './dom.js';
import { KEEP } from './metrics.js';

const W = 240, H = 44;

// chart draws lines over the last KEEP ms before time: {name, points, tone}. The values
// are shown with show; label is for those who do not see it.
export function chart({ lines, time, show, label }) {
  let most = 0;
  for (const { points } of lines) for (const [, v] of points) if (v > most) most = v;
  const top = most || 1;
  const x = (t) => (W * (1 - (time - t) / KEEP)).toFixed(1);
  const y = (v) => (H - 2 - (H - 6) * (v / top)).toFixed(1);
  const paths = lines.map(({ points, tone }) => svg('path', { class: `line ${most ? tone : 'zero'}`, d: path(points, x, y), 'vector-effect': 'non-scaling-stroke' }));
  const said = lines.map(({ name, points }) => `${name} ${show(points.at(-1)?.[1])}`).join(', ');
  return h('div', { class: 'chart' },
    svg('svg', { viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': `${label}, the last 5 minutes: now ${said}; at most ${show(most)}` },
      svg('path', { class: 'base', d: `M0 ${H - 2}H${W}`, 'vector-effect': 'non-scaling-stroke' }), paths),
    h('p', { class: 'scale muted', 'aria-hidden': 'true' }, h('span', null, '−5 min'), h('span', null, most ? `max ${show(most)}` : '')));
}

// path has a gap where there was no value, or no poll.
function path(points, x, y) {
  let d = '', last = -Infinity, drawn = false;
  for (const [t, v] of points) {
    if (Number.isNaN(v)) {
      drawn = false;
      continue;
    }
    const near = drawn && t - last < 8000;
    // A single point shows as a dot, by its round ends.
    d += near ? `L${x(t)} ${y(v)}` : `M${x(t)} ${y(v)}h0.01`;
    last = t;
    drawn = true;
  }
  return d;
}
