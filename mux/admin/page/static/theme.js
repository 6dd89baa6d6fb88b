// The colours that were chosen, before anything is drawn. It is no module, which would
// be run after that.
try {
  document.documentElement.dataset.theme = localStorage.getItem('hookmux-theme') || 'auto';
} catch {
  // No storage here: the browser's own.
}
