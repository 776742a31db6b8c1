/* Brings the explorer page to life: query, facets, sorting, copying. survey/explorer.py writes the page.
 *
 * The state is the query and the sort order and nothing else; both stand in the address. A facet's chip edits
 * the query, so what it selects is what the same query selects on the command line.
 */
"use strict";

(function () {
  const byId = (id) => document.getElementById(id);
  const page = byId("explorer-page");
  if (!page) return;
  const data = JSON.parse(byId("explorer-data").textContent);
  const index = new CodebookQuery.Index(data.works, data.facets);
  const body = page.querySelector("tbody");
  const rows = new Map(Array.from(body.rows, (row) => [row.dataset.id, row]));
  const input = byId("explorer-query");
  const state = { query: "", sort: "" };
  let understood = ""; // the last query without a mistake: what the table shows and the chips change
  let shown = data.works;

  const FACETS = [
    { field: "kind", label: "Kind" },
    { field: "technique", label: "Technique" },
    { field: "modality", label: "Modality" },
    { field: "task", label: "Task" },
    { field: "status", label: "Status" },
    { field: "year", label: "Year" },
    { field: "llm", label: "Language model", folded: true },
    { field: "section", label: "Section", folded: true },
  ];
  const COLUMNS = ["name", "title", "year", "venue", "kind", "sections", "techniques", "modalities", "status"];

  function element(tag, properties = {}, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  }

  // ---- The query's text in parts: what must hold together, and which of it a facet's chips stand for.

  function conjuncts(text) {
    const tree = CodebookQuery.parse(text);
    if (!tree) return [];
    const parts = tree.type === "and" && !tree.grouped ? tree.parts : [tree];
    return parts.map((node) => {
      const source = text.slice(node.start, node.end);
      return { node, source: node.type === "or" && !node.grouped ? `(${source})` : source };
    });
  }

  /* the values of a conjunct that is one chip, or several joined by OR, of field; otherwise null */
  function chips(conjunct, field) {
    const terms = conjunct.node.type === "or" ? conjunct.node.parts : [conjunct.node];
    const isChip = (node) =>
      node.type === "term" && node.field === field && ":=".includes(node.operator) && !node.value.includes("..");
    return terms.every(isChip) ? terms.map((term) => term.value) : null;
  }

  const same = (a, b) => a.toLowerCase() === b.toLowerCase();
  const quoted = (value) => (/^[^\s()"]+$/.test(value) ? value : `"${value}"`);

  function toggled(text, field, value) {
    const parts = conjuncts(text).map((part) => ({ ...part, values: chips(part, field) }));
    const groups = parts.filter((part) => part.values);
    const holder = groups.find((part) => part.values.some((held) => same(held, value)));
    if (holder) holder.values = holder.values.filter((held) => !same(held, value));
    else if (groups.length) groups[groups.length - 1].values.push(value);
    else parts.push({ values: [value] });
    return parts.map((part) => (part.values ? group(field, part.values) : part.source)).filter(Boolean).join(" ");
  }

  function group(field, values) {
    const terms = values.map((value) => `${field}:${quoted(value)}`);
    return terms.length > 1 ? `(${terms.join(" OR ")})` : terms.join("");
  }

  // ---- Facets

  function holds(work, field, value) {
    const held = CodebookQuery.values(work, field).map(String);
    if (field !== "section") return held.includes(value);
    return held.some((v) => v === value || v.startsWith(value + ".") || v.startsWith(value + "-"));
  }

  function facetValues(field) {
    if (field === "section") return data.sections.map((section) => section.number);
    if (field === "year") return [...new Set(data.works.map((work) => String(work.year)))].sort();
    return index.legal(field);
  }

  /* what a chip shows: a section's title too, of a year the last two digits */
  function chipText(field, value) {
    if (field === "section") return `${value} ${data.sections.find(({ number }) => number === value).title}`;
    return field === "year" ? value.slice(2) : value;
  }

  function buildFacet(facet) {
    const list = element("span", { className: `explorer-chips explorer-chips-${facet.field}` });
    facet.chips = facetValues(facet.field)
      .filter((value) => data.works.some((work) => holds(work, facet.field, value)))
      .map((value) => {
        const count = element("span", { className: "explorer-number" });
        const name = element("span", { textContent: chipText(facet.field, value) });
        const button = element("button", { type: "button", className: "explorer-chip" }, name, " ", count);
        button.title = (data.facets[CodebookQuery.FIELDS[facet.field]] || {})[value] || "";
        button.addEventListener("click", () => go({ query: toggled(understood, facet.field, value) }));
        button.dataset.query = group(facet.field, [value]);
        // A section that is part of no other starts a line.
        if (facet.field === "section" && !/\d\.\d/.test(value))
          list.append(element("span", { className: "explorer-break" }));
        list.append(button);
        return { value, button, count };
      });
    const label = element("span", { className: "explorer-label", textContent: facet.label });
    if (!facet.folded) {
      label.id = `explorer-label-${facet.field}`;
      const row = element("div", { className: "explorer-facet" }, label, list);
      row.setAttribute("role", "group");
      row.setAttribute("aria-labelledby", label.id);
      return row;
    }
    const summary = element("summary", {}, label, element("span", { className: "explorer-chosen" }));
    return element("details", { className: "explorer-facet" }, summary, list);
  }

  function updateFacet(facet) {
    const parts = conjuncts(state.query);
    const groups = parts.filter((part) => chips(part, facet.field));
    const chosen = groups.flatMap((part) => chips(part, facet.field));
    // What each value would give together with all the rest of the query.
    const rest = parts.filter((part) => !groups.includes(part)).map((part) => part.source);
    const works = index.query(rest.join(" "));
    const numbers = facet.chips.map(({ value }) => works.filter((work) => holds(work, facet.field, value)).length);
    const largest = Math.max(1, ...numbers);
    facet.chips.forEach(({ value, button, count }, i) => {
      const number = numbers[i];
      count.textContent = String(number);
      if (facet.field === "year") {
        // drawn as a bar
        button.style.setProperty("--share", String(number / largest));
        button.title = `${value}: ${number} ${number === 1 ? "work" : "works"}`;
        button.setAttribute("aria-label", button.title);
      }
      button.setAttribute("aria-pressed", String(chosen.some((held) => same(held, value))));
      button.classList.toggle("explorer-empty", number === 0);
    });
    if (facet.folded) facet.node.querySelector(".explorer-chosen").textContent = chosen.join(", ");
  }

  // ---- The table

  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  function sorted(works) {
    const field = state.sort.replace(/^-/, "");
    if (!COLUMNS.includes(field)) return works;
    const sign = state.sort.startsWith("-") ? -1 : 1;
    const key = (work) => [].concat(work[field] ?? []).join(", ");
    // Works without a value come last either way.
    return works.slice().sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      return x && y ? sign * collator.compare(x, y) : Number(!x) - Number(!y);
    });
  }

  function buildSorting() {
    Array.from(page.querySelectorAll("thead th")).forEach((header, column) => {
      const field = COLUMNS[column];
      if (!field) return;
      const button = element("button", { type: "button", textContent: header.textContent });
      header.replaceChildren(button);
      header.dataset.field = field;
      button.addEventListener("click", () => {
        go({ sort: state.sort === field ? `-${field}` : state.sort === `-${field}` ? "" : field });
      });
    });
  }

  // ---- The address: #q=...&sort=..., readable where it may be

  function address() {
    const parameters = new URLSearchParams();
    if (state.query) parameters.set("q", state.query);
    if (state.sort) parameters.set("sort", state.sort);
    return "#" + parameters.toString().replace(/%3A/g, ":").replace(/%28/g, "(").replace(/%29/g, ")");
  }

  function readAddress() {
    const parameters = new URLSearchParams(location.hash.slice(1));
    state.query = parameters.get("q") || "";
    state.sort = parameters.get("sort") || "";
    if (input.value !== state.query) input.value = state.query;
    render();
  }

  /* A change by one action is a step of the history; the letters typed one after the other are one step. */
  let typing = 0;

  function go(change, letters = false) {
    Object.assign(state, change);
    if (!letters) input.value = state.query;
    const first = !letters || !typing;
    clearTimeout(typing);
    typing = letters ? setTimeout(() => (typing = 0), 1000) : 0;
    if (address() !== (location.hash || "#")) history[first ? "pushState" : "replaceState"](null, "", address());
    render();
  }

  // ---- Showing the state

  function render() {
    let works;
    try {
      works = index.query(state.query);
    } catch (error) {
      if (!(error instanceof CodebookQuery.QueryError)) throw error;
      return showError(error);
    }
    understood = state.query;
    byId("explorer-error").hidden = true;
    input.removeAttribute("aria-invalid");
    page.classList.remove("explorer-stale");
    shown = sorted(works);
    body.replaceChildren(...shown.map((work) => rows.get(work.id)));
    FACETS.forEach(updateFacet);
    byId("explorer-count").textContent = `${shown.length} of ${data.works.length} works`;
    byId("explorer-message").textContent = "";
    byId("explorer-clear").disabled = !state.query && !state.sort;
    byId("explorer-bibtex").disabled = byId("explorer-csv").disabled = !shown.length;
    page.querySelectorAll("thead th[data-field]").forEach((header) => {
      const falling = state.sort === "-" + header.dataset.field;
      const rising = state.sort === header.dataset.field;
      header.setAttribute("aria-sort", rising ? "ascending" : falling ? "descending" : "none");
    });
    const saved = data.saved.findIndex((entry) => entry.query === state.query && state.query);
    byId("explorer-saved").value = saved < 0 ? "" : String(saved);
  }

  /* The table stays as it was; the query is shown with a caret under the mistake. */
  function showError(error) {
    const caret = `${state.query}\n${" ".repeat(error.position)}^ ${error.message}`;
    const box = byId("explorer-error");
    box.replaceChildren(element("pre", { textContent: caret }));
    if (error.suggestion) {
      const [start, end] = error.span;
      const fix = element("button", { type: "button", textContent: error.suggestion });
      fix.addEventListener("click", () => {
        go({ query: state.query.slice(0, start) + quoted(error.suggestion) + state.query.slice(end) });
        input.focus();
      });
      box.append(element("p", {}, "Did you mean ", fix, "?"));
    }
    box.hidden = false;
    input.setAttribute("aria-invalid", "true");
    byId("explorer-clear").disabled = false;
    page.classList.add("explorer-stale");
    byId("explorer-count").textContent = "Not understood; these are the works of the query before";
  }

  // ---- Taking the selection along

  function csv(works) {
    const fields = Object.keys(data.works[0]).filter((field) => field !== "bibtex");
    const cell = (value) => {
      const text = Array.isArray(value) ? value.join("; ") : String(value ?? "");
      // A spreadsheet would take such a cell for a formula.
      const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
      return /[",\r\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
    };
    const lines = [fields, ...works.map((work) => fields.map((field) => work[field]))];
    return lines.map((line) => line.map(cell).join(",") + "\n").join("");
  }

  async function copy(text, what) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // No clipboard for this page: the browser's old way.
      const area = element("textarea", { value: text });
      page.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    byId("explorer-message").textContent = `Copied ${what}.`;
  }

  function download(text, name) {
    const link = element("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  // ---- Wiring

  for (const facet of FACETS) {
    facet.node = buildFacet(facet);
    byId("explorer-facets").append(facet.node);
  }
  buildSorting();
  data.saved.forEach((entry, i) => {
    byId("explorer-saved").append(element("option", { value: String(i), textContent: entry.name, title: entry.about }));
  });
  input.addEventListener("input", () => go({ query: input.value }, true));
  page.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  byId("explorer-saved").addEventListener("change", (event) => {
    if (event.target.value) go({ query: data.saved[Number(event.target.value)].query });
  });
  byId("explorer-clear").addEventListener("click", () => {
    go({ query: "", sort: "" });
    input.focus();
  });
  byId("explorer-bibtex").addEventListener("click", () => {
    const entries = shown.length === 1 ? "1 BibTeX entry" : `${shown.length} BibTeX entries`;
    copy(shown.map((work) => work.bibtex).join("\n\n") + "\n", entries);
  });
  byId("explorer-csv").addEventListener("click", () => download(csv(shown), "codebook.csv"));
  byId("explorer-link").addEventListener("click", () => copy(location.href, "the link"));
  window.addEventListener("popstate", readAddress);
  window.addEventListener("hashchange", readAddress);
  page.querySelector(".explorer-controls").hidden = false;
  render();
  readAddress();
})();
