// Numbers, times and foreign texts for people.

// What would hide or reorder a text, or is not seen: control characters, marks of
// writing direction, spaces without width.
const unseen = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

// visible is a text from outside with everything in it to be seen.
export function visible(text) {
  return String(text ?? '').replace(unseen, (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));
}

// visibleLines is visible for a text of several lines.
export const visibleLines = (text) => String(text ?? '').split('\n').map((l) => l.split('\t').map(visible).join('\t')).join('\n');

// short is the beginning of a text that is too long for its place.
export function short(text, most = 80) {
  const s = visible(text);
  const chars = [...s.slice(0, 2 * most + 2)];
  return chars.length > most ? chars.slice(0, most - 1).join('') + '…' : s;
}

const units = [[86400, 'd', 3600, 'h'], [3600, 'h', 60, 'min'], [60, 'min', 1, 's']];

// span is how long something is, of seconds: 12 s, 3 min, 2 h 5 min, 4 d 1 h.
export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  for (const [size, name, small, smallName] of units) {
    if (s < size) continue;
    const rest = Math.floor((s % size) / small);
    return `${Math.floor(s / size)} ${name}` + (rest && size > 60 ? ` ${rest} ${smallName}` : '');
  }
  return `${s} s`;
}

// took is a duration, of seconds: 0.31 ms, 12 ms, 1.2 s.
export function took(seconds) {
  if (seconds === undefined || seconds === null || Number.isNaN(seconds)) return '–';
  const ms = seconds * 1000;
  if (ms < 0.1) return '<0.1 ms';
  if (ms < 10) return `${ms.toFixed(ms < 1 ? 2 : 1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
}

// rate is events per second.
export function rate(n) {
  if (n === undefined || n === null || Number.isNaN(n)) return '–';
  if (n === 0) return '0';
  if (n < 0.1) return '<0.1';
  if (n < 10) return n.toFixed(1);
  return count(Math.round(n));
}

// count is a number of things.
export function count(n) {
  if (n < 10000) return String(n);
  if (n < 1e6) return `${(n / 1e3).toFixed(n < 1e5 ? 1 : 0)} k`;
  if (n < 1e9) return `${(n / 1e6).toFixed(n < 1e7 ? 1 : 0)} M`;
  return `${(n / 1e9).toFixed(1)} G`;
}

// size is a number of bytes.
export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1 << 20) return `${(bytes / 1024).toFixed(0)} KiB`;
  return `${(bytes / (1 << 20)).toFixed(1)} MiB`;
}

// some is a number with its noun: 1 provider, 3 providers.
export function some(n, noun, plural = noun + 's') {
  return `${count(n)} ${n === 1 ? noun : plural}`;
}

// list is words as in a sentence: a, b and c.
export function list(words) {
  if (words.length < 2) return words.join('');
  return words.slice(0, -1).join(', ') + ' and ' + words.at(-1);
}

const pad = (n, to = 2) => String(n).padStart(to, '0');

// clock is the time of day, with milliseconds if fine.
export function clock(date, fine = false) {
  const text = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  return fine ? `${text}.${pad(date.getMilliseconds(), 3)}` : text;
}

// day is a date and time as one would write it down.
export function day(date) {
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${clock(date, true)}`;
}
