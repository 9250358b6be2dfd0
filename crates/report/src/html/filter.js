"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const tools = byId("tools");
  const words = byId("words");
  const state = byId("state");
  const cards = Array.from(document.querySelectorAll("li[data-state]"), (card) => ({ card, text: card.textContent.toLowerCase() }));
  const rows = Array.from(document.querySelectorAll("tbody tr"), (row) => ({
    row, cards: Array.from(row.querySelectorAll("a[href^='#cell-']"), (link) => byId(link.getAttribute("href").slice(1))),
  }));
  const groups = Array.from(document.querySelectorAll("[data-group]"));
  const apply = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { card, text } of cards) {
      card.hidden = !(wanted.every((word) => text.includes(word)) && (state.value === "" || card.dataset.state === state.value));
      shown += card.hidden ? 0 : 1;
    }
    for (const { row, cards } of rows) row.hidden = cards.every((card) => card.hidden);
    for (const group of groups) group.hidden = !group.querySelector("tbody tr:not([hidden])");
    byId("found").textContent = shown + " of " + cards.length + " shown";
    const query = new URLSearchParams();
    if (words.value) query.set("q", words.value);
    if (state.value) query.set("state", state.value);
    const text = query.toString();
    try { history.replaceState(null, "", text ? "#?" + text : location.pathname + location.search); } catch (_) { /* a file */ }
  };
  const query = new URLSearchParams(location.hash.startsWith("#?") ? location.hash.slice(2) : "");
  words.value = query.get("q") || "";
  if (Array.from(state.options).some((option) => option.value === query.get("state"))) state.value = query.get("state");
  tools.hidden = false;
  words.addEventListener("input", apply);
  state.addEventListener("change", apply);
  if (words.value || state.value) apply();
})();
