// Accessible names for parts that the theme adds: search, copy buttons and parts that scroll.
const SCROLLS = ".md-typeset__scrollwrap:not([tabindex]), .md-sidebar__scrollwrap:not([tabindex])";
new MutationObserver(() => {
  document.querySelectorAll("nav.md-code__nav:not([role])").forEach((nav) => nav.setAttribute("role", "presentation"));
  document.querySelector(".md-search:not([aria-label])")?.setAttribute("aria-label", "Search");
  document.querySelectorAll(SCROLLS).forEach((box, number) => {
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", `scrolling part ${number + 1}`);
  });
}).observe(document.documentElement, { childList: true, subtree: true });
