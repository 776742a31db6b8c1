/* The query grammar of the catalog in the browser: the twin of survey/grammar.py and survey/query.py.
 *
 *   or   := and ("OR" and)*
 *   and  := not ("AND"? not)*
 *   not  := ("NOT" | "-") not | atom
 *   atom := "(" or ")" | field operator value | "phrase" | word
 *
 * Same grammar, same meaning, same messages and positions; tests/survey/test_query_parity.py compares the two.
 * A classic script, so that it works from file://; it defines the one global CodebookQuery.
 */
"use strict";

var CodebookQuery = (function () {
  const FIELDS = {
    id: "id", key: "key", name: "name", title: "title", year: "year", venue: "venue", arxiv: "arxiv",
    doi: "doi", kind: "kind", author: "authors", section: "sections", technique: "techniques",
    modality: "modalities", task: "tasks", llm: "llm", status: "status", builds_on: "builds_on", code: "code",
    chapter: "chapter",
  };
  const MAX_DEPTH = 50;
  const TEXT = new Set(["name", "title", "author", "venue", "code"]);
  const FREE_TEXT = ["name", "title", "author", "venue", "id", "key"];
  const CLOSED = new Set([
    "kind", "section", "technique", "modality", "task", "llm", "status", "builds_on", "chapter",
  ]);
  const OPTIONAL = new Set([
    "section", "technique", "modality", "task", "llm", "builds_on", "chapter", "venue", "arxiv", "doi", "code",
  ]);
  const WILDCARD = new Set(["id", "key", "section", "arxiv", "doi"]);
  const STATUSES = ["implemented", "catalogued"];

  // Whitespace is spelt out: Python's \s and JavaScript's \s differ.
  const SPACE = " \\t\\r\\n\\f\\v\\u00a0";
  const SPACES = new RegExp(`[${SPACE}]*`, "y");
  const WORD = new RegExp(`[^${SPACE}()"]+`, "y");
  const FIELD = new RegExp(`([A-Za-z_]+)[${SPACE}]*(>=|<=|[:=<>])[${SPACE}]*`, "y");
  const ONLY_SPACE = new RegExp(`^[${SPACE}]$`);

  /* position counts characters (not UTF-16 units) from the start; suggestion is a legal value or null, and span
   * what it would replace: [start, end) in UTF-16 units. */
  class QueryError extends Error {
    constructor(message, position, suggestion = null, span = null) {
      super(message);
      Object.assign(this, { position, suggestion, span });
    }
  }

  /* text without case, accents and compatibility forms */
  function fold(text) {
    const folded = text.normalize("NFKD").toLowerCase().toUpperCase().toLowerCase().replace(/ς/g, "σ");
    return folded.normalize("NFKD").replace(/\p{M}/gu, "");
  }

  const words = (text) => fold(text).match(/[\p{L}\p{N}]+/gu) || [];
  const patterns = (value) => fold(value).match(/[\p{L}\p{N}*]+/gu) || [];

  /* The legal value that is most likely meant: one that starts with value, else the smallest edit distance. */
  function nearest(value, legal) {
    const wanted = Array.from(fold(value));
    const limit = Math.max(1, Math.floor((wanted.length + 1) / 3));
    let best = null;
    let bestDistance = limit + 1;
    for (const candidate of legal) {
      const other = Array.from(fold(candidate));
      const begins = wanted.length > 1 && wanted.every((c, i) => c === other[i]);
      const distance = begins ? 0 : editDistance(wanted, other, limit);
      if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
    }
    return best;
  }

  function editDistance(a, b, limit) {
    if (Math.abs(a.length - b.length) > limit) return limit + 1;
    const row = Array.from({ length: b.length + 1 }, (_, j) => j);
    a.forEach((x, i) => {
      let diagonal = row[0];
      row[0] = i + 1;
      b.forEach((y, j) => {
        const above = row[j + 1];
        row[j + 1] = Math.min(above + 1, row[j] + 1, diagonal + (x === y ? 0 : 1));
        diagonal = above;
      });
    });
    return row[b.length];
  }

  /* Recursive descent. Every node knows its span [start, end) in UTF-16 units and whether it stood in
   * parentheses, so that a part can be cut out of the text. */
  class Parser {
    constructor(text) {
      this.text = text;
      this.position = 0;
    }

    error(message, at, suggestion, end) {
      return new QueryError(message, Array.from(this.text.slice(0, at)).length, suggestion, [at, end]);
    }

    match(expression, position = this.position) {
      expression.lastIndex = position;
      return expression.exec(this.text);
    }

    atEnd() {
      this.position += this.match(SPACES)[0].length;
      return this.position === this.text.length;
    }

    next() {
      return this.text[this.position];
    }

    keyword() {
      const match = this.atEnd() ? null : this.match(WORD);
      return match && ["AND", "OR", "NOT"].includes(match[0]) ? match[0] : null;
    }

    parse() {
      if (this.atEnd()) return null;
      const tree = this.alternatives(0);
      if (!this.atEnd()) throw this.error("no parenthesis to close", this.position);
      return tree;
    }

    alternatives(depth) {
      const parts = [this.conjunction(depth)];
      while (this.keyword() === "OR") parts.push(this.operand("OR", depth, this.conjunction));
      return this.node("or", parts);
    }

    conjunction(depth) {
      const parts = [this.negation(depth)];
      while (!this.atEnd() && this.next() !== ")" && this.keyword() !== "OR") {
        const spelt = this.keyword() === "AND";
        parts.push(spelt ? this.operand("AND", depth, this.negation) : this.negation(depth));
      }
      return this.node("and", parts);
    }

    node(type, parts) {
      if (parts.length === 1) return parts[0];
      return { type, parts, start: parts[0].start, end: parts[parts.length - 1].end };
    }

    operand(operator, depth, read) {
      const start = this.position;
      this.position += operator.length;
      if (this.atEnd() || this.next() === ")" || ["AND", "OR"].includes(this.keyword()))
        throw this.error(`nothing after ${operator}`, start);
      return read.call(this, depth);
    }

    negation(depth) {
      const keyword = this.keyword();
      const start = this.position;
      if (keyword === "AND" || keyword === "OR") throw this.error(`nothing before ${keyword}`, start);
      const following = this.text[start + 1];
      const dash = this.next() === "-" && following !== undefined && !ONLY_SPACE.test(following);
      if (!dash && keyword !== "NOT") return this.atom(depth);
      this.checkDepth(depth);
      const part = this.operand(dash ? "-" : "NOT", depth + 1, this.negation);
      return { type: "not", part, start, end: part.end };
    }

    atom(depth) {
      const start = this.position;
      if (this.next() === "(") return this.group(depth);
      if (this.next() === ")") throw this.error("no parenthesis to close", start);
      const match = this.match(FIELD);
      if (!match) return this.term("", ":", start);
      const field = this.field(match[1], start);
      const operator = match[2];
      const end = start + match[0].length;
      const at = this.text.indexOf(operator, start + match[1].length);
      if (field !== "year" && operator !== ":" && operator !== "=")
        throw this.error(`${field} takes : or =, not ${operator}`, at);
      this.position = end;
      if (this.atEnd() || "()".includes(this.next()))
        throw this.error(`no value after ${match[1]}${operator}`, at + operator.length);
      return this.term(field, operator, start);
    }

    term(field, operator, start) {
      const valueStart = this.position;
      const position = Array.from(this.text.slice(0, valueStart)).length;
      const value = this.value();
      return { type: "term", field, operator, value, position, start, valueStart, end: this.position };
    }

    group(depth) {
      this.checkDepth(depth);
      const start = this.position;
      this.position += 1;
      if (!this.atEnd()) {
        if (this.next() === ")") throw this.error("nothing between the parentheses", start);
        const node = this.alternatives(depth + 1);
        if (!this.atEnd()) {
          this.position += 1;
          return { ...node, start, end: this.position, grouped: true };
        }
      }
      throw this.error("parenthesis is never closed", start);
    }

    value() {
      const start = this.position;
      if (this.next() !== '"') {
        const word = this.match(WORD)[0];
        this.position += word.length;
        return word;
      }
      const end = this.text.indexOf('"', start + 1);
      if (end < 0) throw this.error("quote is never closed", start);
      this.position = end + 1;
      return this.text.slice(start + 1, end);
    }

    field(written, position) {
      const name = written.toLowerCase();
      for (const candidate of [name, name.replace(/s$/, ""), name.replace(/ies$/, "y")])
        if (Object.hasOwn(FIELDS, candidate)) return candidate;
      const suggestion = nearest(name, Object.keys(FIELDS));
      const hint = suggestion ? "" : "; put text that has a colon in quotes";
      throw this.error(`unknown field '${written}'${hint}`, position, suggestion, position + written.length);
    }

    checkDepth(depth) {
      if (depth >= MAX_DEPTH)
        throw this.error(`more than ${MAX_DEPTH} levels of parentheses and negations`, this.position);
    }
  }

  const parse = (text) => new Parser(text).parse();

  /* Answers queries over works (objects with the attributes of survey.catalog.Work), in their order. */
  class Index {
    constructor(works, facets) {
      Object.assign(this, { works, facets, texts: new Map(), inUse: new Map() });
    }

    query(text) {
      const tree = parse(text);
      return tree ? this.works.filter(this.test(tree)) : this.works.slice();
    }

    /* the legal values of a closed field: the declared ones in their order, then others in use */
    legal(field) {
      if (field === "builds_on") return this.works.map((work) => work.id);
      const declared = field === "status" ? STATUSES : Object.keys(this.facets[FIELDS[field]] || {});
      if (!this.inUse.has(field)) this.inUse.set(field, this.works.flatMap((work) => values(work, field)));
      return [...new Set(declared.concat(this.inUse.get(field)))];
    }

    /* the predicate on works of a syntax tree; all parts are made, so that a mistake in any is reported */
    test(node) {
      if (node.type === "term") return this.term(node);
      if (node.type === "not") {
        const part = this.test(node.part);
        return (work) => !part(work);
      }
      const parts = node.parts.map((part) => this.test(part));
      if (node.type === "and") return (work) => parts.every((part) => part(work));
      return (work) => parts.some((part) => part(work));
    }

    term(term) {
      const { field, position } = term;
      const value = term.value.toLowerCase();
      if (field === "year") {
        const [low, high] = years(term);
        return (work) => low <= work.year && work.year <= high;
      }
      if (OPTIONAL.has(field) && (value === "none" || value === "any"))
        return (work) => (values(work, field).length > 0) === (value === "any");
      if (TEXT.has(field) || !field) return this.words(term);
      const matches = wholeValue(field, value);
      if (CLOSED.has(field)) {
        const legal = this.legal(field);
        if (!legal.some((known) => matches(known.toLowerCase()))) {
          const span = [term.valueStart, term.end];
          throw new QueryError(`unknown ${field} '${term.value}'`, position, nearest(term.value, legal), span);
        }
      }
      return (work) => values(work, field).some((held) => matches(held.toLowerCase()));
    }

    words(term) {
      const wanted = patterns(term.value);
      if (!wanted.length) throw new QueryError(`no letter or digit in '${term.value}'`, term.position);
      const texts = this.textsOf(term.field);
      const phrase = " " + wanted.join(" ");
      if (!phrase.includes("*")) return (work) => texts.get(work).includes(phrase);
      const end = wanted[wanted.length - 1].includes("*") ? " " : "";
      const parts = wanted.map((word) => (/^[*]+$/.test(word) ? "[^ |]+" : glob(word, "[^ |]*")));
      const expression = new RegExp(" " + parts.join(" ") + end, "u");
      return (work) => expression.test(texts.get(work));
    }

    /* The folded words of each work with a space on both sides; a bar keeps the values apart. */
    textsOf(field) {
      if (!this.texts.has(field)) {
        const fields = field ? [field] : FREE_TEXT;
        const text = (work) => fields.flatMap((name) => values(work, name)).map((v) => words(v).join(" "));
        this.texts.set(field, new Map(this.works.map((work) => [work, ` ${text(work).join(" | ")} `])));
      }
      return this.texts.get(field);
    }
  }

  const glob = (pattern, run) =>
    pattern.split(/\*+/).map((part) => part.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")).join(run);

  /* the first and the last year that a term allows */
  function years(term) {
    const match = /^([0-9]{4})?(\.\.)?([0-9]{4})?$/.exec(term.value);
    const [first, dots, last] = match ? match.slice(1) : [];
    if (dots && (first || last) && (term.operator === ":" || term.operator === "="))
      return [Number(first || 0), Number(last || 9999)];
    if (!first || dots || last) {
      const message = "year takes a year such as 2022, or a range as in year:2020..2023, not ";
      throw new QueryError(`${message}'${term.value}'`, term.position);
    }
    const year = Number(first);
    const bounds = { ">": [year + 1, 9999], ">=": [year, 9999], "<": [0, year - 1], "<=": [0, year] };
    return bounds[term.operator] || [year, year];
  }

  /* the test that wanted puts to each value of field, both in lower case */
  function wholeValue(field, wanted) {
    if (wanted.includes("*") && WILDCARD.has(field)) {
      const expression = new RegExp(`^${glob(wanted, ".*")}$`, "su");
      return (value) => expression.test(value);
    }
    if (field === "section")
      return (value) => value === wanted || value.startsWith(wanted + ".") || value.startsWith(wanted + "-");
    return (value) => value === wanted;
  }

  /* the values of field: none, one or several */
  function values(work, field) {
    const value = work[FIELDS[field]];
    if (Array.isArray(value)) return value;
    return value === null || value === undefined || value === "" ? [] : [value];
  }

  return { FIELDS, Index, QueryError, fold, nearest, parse, values, words };
})();
