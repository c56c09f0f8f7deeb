/* One hit a page, the best of its hits, and no summaries where a browser may not read the pages, which are files. */
if (window.location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
const everyHit = Search._performSearch;
Search._performSearch = (...asked) => {
  const seen = new Set();
  return everyHit(...asked).reverse().filter(([page]) => !seen.has(page) && seen.add(page)).reverse();
};
