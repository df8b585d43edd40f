// The status page: receives snapshots and shows them. Every text goes through textContent, so that none of it is markup.

const page = document.getElementById("page");
const SVG = "http://www.w3.org/2000/svg";
const DAY = 86_400_000;
const POLL_INTERVAL = 5_000;
const STALE_AFTER = 10_000;
const STALLED_FROM = 5_000;
const ENDING_WITHIN = 14 * DAY;

function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null) node.removeAttribute(name);
    else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
  }
  return node;
}
function el(name, attributes = {}, ...children) {
  const node = set(document.createElement(name), attributes);
  node.append(...children);
  return node;
}
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
function draw(name, attributes, title) {
  const node = set(document.createElementNS(SVG, name), attributes);
  if (title) node.append(Object.assign(document.createElementNS(SVG, "title"), { textContent: title }));
  return node;
}

const whole = new Intl.NumberFormat("en");
const stamp = new Intl.DateTimeFormat("en-GB", {
  timeZone: "UTC", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit",
});
const clockTime = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", hour: "2-digit", minute: "2-digit" });
const dateOnly = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", day: "numeric", month: "short", year: "numeric" });
const at = (time) => (time === null ? "–" : stamp.format(time).replace(",", ""));
const words = (name) => name.replaceAll("_", " ");
const many = (count, one, more = one + "s") => `${whole.format(count)} ${count === 1 ? one : more}`;

function duration(ms) {
  const s = Math.floor(Math.max(ms, 0) / 1000);
  if (ms < 1000) return `${Math.round(Math.max(ms, 0))} ms`;
  if (s < 60) return `${s} s`;
  const [unit, name, minor, minorName] = s < 3600 ? [60, "min", 1, "s"] : s < 86_400 ? [3600, "h", 60, "min"] : [86_400, "d", 3600, "h"];
  const rest = Math.floor((s % unit) / minor);
  return `${Math.floor(s / unit)} ${name}${rest ? ` ${rest} ${minorName}` : ""}`;
}
function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let n = 0;
  for (; count >= 1000 && n < units.length - 1; n++) count /= 1000;
  return `${n === 0 || count >= 100 ? Math.round(count) : count.toFixed(1)} ${units[n]}`;
}
const rate = (value) => (value === 0 ? "0" : value < 0.1 ? "< 0.1" : value < 100 ? value.toFixed(1) : whole.format(Math.round(value)));

/** A table whose rows are kept from one snapshot to the next, so that focus and scroll positions stay. */
class Table {
  constructor({ title, columns, key, empty, sort, filter }) {
    Object.assign(this, { title, columns, key, empty, rows: [], kept: new Map() });
    this.order = sort ?? null;
    this.count = el("span", { class: "count" });
    this.search = filter ? el("input", { type: "search", placeholder: "Filter", "aria-label": `Filter ${title.toLowerCase()}` }) : null;
    this.search?.addEventListener("input", () => this.render());
    this.headers = columns.map((column) => this.header(column));
    this.body = el("tbody");
    const table = el("table", {}, el("thead", {}, el("tr", {}, ...this.headers)), this.body);
    this.scroll = el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": title }, table);
    this.none = el("p", { class: "empty" });
    const head = el("div", { class: "head" }, el("h3", {}, title), this.count, ...(this.search ? [this.search] : []));
    this.node = el("section", { class: "part" }, head, this.none, this.scroll);
  }
  header(column) {
    const cell = el("th", { scope: "col", class: column.class ?? "" });
    if (!column.sort) {
      cell.append(column.label);
      return cell;
    }
    const button = el("button", { type: "button" }, column.label);
    button.addEventListener("click", () => {
      const again = this.order?.by === column.sort;
      this.order = { by: column.sort, down: again ? !this.order.down : Boolean(column.numeric) };
      this.render();
    });
    cell.append(button);
    return cell;
  }
  update({ list, count }) {
    this.rows = list;
    this.all = count;
    this.render();
  }
  sorted() {
    const wanted = this.search?.value.toLowerCase() ?? "";
    const rows = this.rows.filter((row) => !wanted || this.columns.some((column) => this.cell(column, row).text.toLowerCase().includes(wanted)));
    if (!this.order) return rows;
    const { by, down } = this.order;
    const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
    return rows.sort((a, b) => (down ? -1 : 1) * compare(by(a), by(b)));
  }
  cell(column, row) {
    const cell = column.cell(row);
    return typeof cell === "string" ? { text: cell } : cell;
  }
  render() {
    const rows = this.sorted();
    this.headers.forEach((header, n) => {
      const sort = this.columns[n].sort;
      if (sort) set(header, { "aria-sort": this.order?.by !== sort ? "none" : this.order.down ? "descending" : "ascending" });
    });
    const left = this.all > this.rows.length ? `${whole.format(this.rows.length)} of ${whole.format(this.all)}` : whole.format(this.all);
    write(this.count, rows.length < this.rows.length ? `${whole.format(rows.length)} of ${left}` : this.all ? left : "");
    if (this.search) this.search.hidden = this.rows.length < 8 && !this.search.value;
    this.scroll.hidden = rows.length === 0;
    this.none.hidden = rows.length > 0;
    write(this.none, this.rows.length ? "Nothing matches the filter." : this.empty);
    const shown = new Map();
    rows.forEach((row, n) => {
      const line = this.kept.get(this.key(row)) ?? el("tr", {}, ...this.columns.map(() => el("td")));
      shown.set(this.key(row), line);
      this.columns.forEach((column, at) => this.fill(line.cells[at], column, row));
      if (this.body.rows[n] !== line) this.body.insertBefore(line, this.body.rows[n] ?? null);
    });
    while (this.body.rows.length > rows.length) this.body.lastChild.remove();
    this.kept = shown;
  }
  fill(node, column, row) {
    const { text, tone = "", title = null, part = null } = this.cell(column, row);
    set(node, { class: `${column.class ?? ""} ${tone}`.trim(), title });
    if (part === null) return write(node, text);
    const bar = node.querySelector("progress") ?? el("progress", { max: 1, "aria-label": "Progress" });
    if (!bar.parentNode) node.replaceChildren(bar, " ", el("span"));
    set(bar, { value: part });
    write(node.lastChild, text);
  }
}

/** A few figures side by side. */
class Facts {
  constructor(labels) {
    this.facts = new Map(labels.map((label) => [label, { value: el("dd", { class: "value" }), note: el("dd", { class: "note" }) }]));
    const groups = [...this.facts].map(([label, own]) => el("div", {}, el("dt", {}, label), own.value, own.note));
    this.node = el("dl", { class: "facts" }, ...groups);
  }
  set(label, text, note = "", tone = "") {
    const own = this.facts.get(label);
    write(own.value, text);
    set(own.value, { class: `value ${tone}`.trim() });
    write(own.note, note);
  }
}

const PHASES = { connected: "Connected", backfill: "Backfill", silent: "Silent", down: "Down" };
const GAPS = { "gap-open": "Open gap", "gap-complete": "Closed gap", "gap-lost": "Unrecoverable gap" };
const gapClass = (gap) => (!gap.is_closed ? "gap-open" : gap.state === "unrecoverable" ? "gap-lost" : "gap-complete");

/** The last 24 h of an upstream: its state below, its gaps above. */
class Timeline {
  constructor() {
        const entry = ([name, label]) => {
      const icon = draw("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" });
      const shape = name.startsWith("gap") ? { y: 3, height: 6 } : name === "connected" ? { y: 6, height: 6 } : { y: 0, height: 12 };
      icon.append(draw("rect", { class: name, x: 0, width: 12, rx: 2, ...shape }));
      return el("span", {}, icon, label);
    };
    this.legend = el("div", { class: "legend" }, ...[...Object.entries(PHASES), ["unknown", "Not recorded"], ...Object.entries(GAPS)].map(entry));
    this.chart = draw("svg", { viewBox: "0 0 1440 40", preserveAspectRatio: "none", role: "img" });
    this.axis = el("div", { class: "axis", "aria-hidden": "true" });
    const head = el("div", { class: "head" }, el("h3", {}, "Upstream, last 24 h"), this.legend);
    this.node = el("section", { class: "part timeline" }, head, this.chart, this.axis);
  }
  update(time, { timeline }, gaps) {
    const least = 2 * (1440 / (this.chart.clientWidth || 1440));
    const x = (moment) => Math.min(Math.max(1440 * (1 + (moment - time) / DAY), 0), 1440);
    const rect = (name, from, to, shape, title) => {
      const begin = Math.min(x(from), 1440 - least);
      return draw("rect", { class: name, x: begin, width: Math.max(x(to) - begin, least), ...shape }, title);
    };
    const spans = timeline.map(([from, phase], n) => ({ from, phase, to: timeline[n + 1]?.[0] ?? time }));
    const totals = {};
    for (const span of spans) totals[span.phase] = (totals[span.phase] ?? 0) + span.to - Math.max(span.from, time - DAY);
    // Short interruptions are drawn over what surrounds them.
    const ordered = Object.keys(PHASES).flatMap((phase) => spans.filter((span) => span.phase === phase));
    const state = ordered.map(({ from, phase, to }) =>
      rect(phase, from, to, phase === "connected" ? { y: 26, height: 14 } : { y: 14, height: 26 },
        `${PHASES[phase]} ${at(from)} to ${to === time ? "now" : at(to)} (${duration(to - from)})`));
    const above = [...gaps.list].reverse().map((gap) =>
      rect(gapClass(gap), gap.start, gap.end ?? time, { y: 3, height: 8 },
        `Gap ${gap.id}, ${words(gap.cause)}: ${at(gap.start)} to ${gap.end === null ? "now" : at(gap.end)}, ${words(gap.state)}`));
    const hours = [0.25, 0.5, 0.75].map((part) => draw("line", { class: "hour", x1: 1440 * part, x2: 1440 * part, y1: 0, y2: 40 }));
    this.chart.replaceChildren(...hours, ...state, ...above);
    const said = Object.keys(PHASES).filter((phase) => totals[phase]).map((phase) => `${words(phase)} ${duration(totals[phase])}`);
    set(this.chart, { "aria-label": `Upstream over the last 24 h: ${said.join(", ")}; ${many(gaps.count, "gap")}` });
    const labels = [0, 0.25, 0.5, 0.75, 1].map((part) => (part === 1 ? "now" : clockTime.format(time - DAY * (1 - part))));
    if (this.axis.textContent !== labels.join("")) this.axis.replaceChildren(...labels.map((label) => el("span", {}, label)));
  }
}

const STATES = {
  connected: ["Connected", "ok"], connecting: ["Connecting", "warn"], backing_off: ["Down, retrying", "bad"], stopped: ["Stopped", "bad"],
};

const RULES = { active: "ok", pending_add: "warn", pending_delete: "warn", rejected: "bad", unknown: "bad", unmanaged: "quiet" };

/** One account. */
class Account {
  constructor(name) {
    this.name = name;
    this.chip = el("span", { class: "chip" });
    this.gapChip = el("span", { class: "chip warn" });
    this.brief = el("span", { class: "brief" });
    this.closed = el("p", { class: "empty" }, "The log of this account cannot be opened. The gateway tries again; its log has the error.");
    this.facts = new Facts(["Last byte from X", "Posts", "Sessions", "Furthest behind", "Oldest record", "Log", "Accounting", "Rules"]);
    this.timeline = new Timeline();
    this.gaps = new Table({
      title: "Gaps", empty: "No gap in the last 24 h.", key: (gap) => gap.id,
      columns: [
        { label: "Gap", cell: (gap) => gap.id },
        { label: "State", cell: (gap) => ({ text: words(gap.state), tone: !gap.is_closed ? "warn" : gap.state === "unrecoverable" ? "lost" : "ok", title: `evidence: ${words(gap.evidence)}` }) },
        { label: "Cause", cell: (gap) => words(gap.cause) },
        { label: "Start", class: "time", cell: (gap) => at(gap.start) },
        { label: "End", class: "time", cell: (gap) => (gap.end === null ? { text: "open", tone: "warn" } : at(gap.end)) },
        { label: "Length", class: "number wide", cell: (gap) => duration((gap.end ?? this.time) - gap.start) },
        { label: "Recovered", class: "number wide", cell: (gap) => whole.format(gap.recovered) },
      ],
    });
    this.jobs = new Table({
      title: "Recovery jobs", empty: "No recovery job is active.", key: (job) => job.id,
      columns: [
        { label: "Job", cell: (job) => (job.is_manual ? `${job.id} (manual)` : job.id) },
        { label: "State", cell: (job) => (job.retry_after === null ? job.state : `${job.state}, next request in ${duration(job.retry_after)}`) },
        { label: "Progress", class: "number", cell: (job) => this.progress(job) },
        { label: "Interval", class: "wide", cell: (job) => `${at(job.start)} to ${at(job.end)}` },
        { label: "Posts", class: "number", cell: (job) => ({ text: whole.format(job.received), title: `${whole.format(job.recovered)} of them were missing` }) },
        { label: "Last error", class: "name wide", cell: (job) => (job.last_error ? { text: job.last_error, tone: "bad" } : { text: "–", tone: "quiet" }) },
      ],
    });
    const byRate = (tag) => tag.per_second;
    this.tags = new Table({
      title: "Tags", empty: "No tag has been seen since the start.", key: (tag) => tag.tag, filter: true, sort: { by: byRate, down: true },
      columns: [
        { label: "Tag", class: "name", sort: (tag) => tag.tag, cell: (tag) => tag.tag },
        { label: "Posts/s", class: "number", numeric: true, sort: byRate, cell: (tag) => ({ text: rate(tag.per_second), tone: tag.per_second ? "" : "quiet" }) },
        { label: "Posts", class: "number", numeric: true, sort: (tag) => tag.posts, cell: (tag) => whole.format(tag.posts) },
        {
          label: "Subscribed", numeric: true, sort: (tag) => Number(tag.is_subscribed ?? 0),
          cell: (tag) => (tag.is_subscribed === null ? { text: "not known", tone: "quiet" } : tag.is_subscribed ? { text: "yes", tone: "ok" } : { text: "no", tone: "quiet" }),
        },
      ],
    });
    const byLag = (own) => own.lag_records;
    this.sessions = new Table({
      title: "Sessions", empty: "No session is open.", key: (own) => own.id, filter: true, sort: { by: byLag, down: true },
      columns: [
        { label: "Consumer", class: "name", sort: (own) => own.consumer, cell: (own) => (own.consumer ? own.consumer : { text: "unnamed", tone: "quiet" }) },
        { label: "Principal", class: "name wide", sort: (own) => own.principal, cell: (own) => (own.principal ? own.principal : { text: "anonymous", tone: "quiet" }) },
        { label: "Phase", class: "wide", sort: (own) => (own.is_live ? "live" : "replay"), cell: (own) => ({ text: own.is_live ? "live" : "replay", tone: own.is_live ? "" : "info" }) },
        {
          label: "Lag", class: "number", numeric: true, sort: byLag,
          cell: (own) => (own.lag_records ? { text: `${whole.format(own.lag_records)} · ${duration(own.lag)}`, title: "records, and time behind the newest one" } : { text: "0", tone: "quiet" }),
        },
        { label: "Events/s", class: "number", numeric: true, sort: (own) => own.events_per_second, cell: (own) => rate(own.events_per_second) },
        { label: "Data/s", class: "number wide", numeric: true, sort: (own) => own.bytes_per_second, cell: (own) => bytes(own.bytes_per_second) },
        {
          label: "Stalled", class: "number", numeric: true, sort: (own) => own.stalled_for,
          cell: (own) => (own.stalled_for >= STALLED_FROM ? { text: duration(own.stalled_for), tone: "bad" } : { text: "no", tone: "quiet" }),
        },
        { label: "Since", class: "time wide", numeric: true, sort: (own) => own.since, cell: (own) => at(own.since) },
        { label: "Address", class: "wide", sort: (own) => own.peer, cell: (own) => own.peer },
      ],
    });
    const byMatches = (rule) => rule.matches_24h ?? 0;
    this.rules = new Table({
      title: "Rules", empty: "No rule is known.", key: (rule) => `${rule.set} ${rule.name} ${rule.id}`, filter: true,
      columns: [
        { label: "Rule", class: "name", sort: (rule) => `${rule.set}/${rule.name}`, cell: (rule) => (rule.name ? `${rule.set}/${rule.name}` : { text: "in no set", tone: "quiet" }) },
        { label: "Tag", class: "name", sort: (rule) => rule.tag, cell: (rule) => (rule.tag ? rule.tag : { text: "none", tone: "quiet" }) },
        { label: "State", sort: (rule) => rule.state, cell: (rule) => ({ text: words(rule.state), tone: RULES[rule.state], title: rule.rejection || null }) },
        {
          label: "Matches, 24 h", class: "number", numeric: true, sort: byMatches,
          cell: (rule) => (rule.matches_24h === null ? { text: "–", tone: "quiet" } : { text: whole.format(rule.matches_24h), tone: rule.matches_24h ? "" : "quiet" }),
        },
        { label: "Last match", class: "time wide", numeric: true, sort: (rule) => rule.last_seen ?? 0, cell: (rule) => at(rule.last_seen) },
        { label: "Id", class: "wide", sort: (rule) => rule.id, cell: (rule) => rule.id || { text: "–", tone: "quiet" } },
      ],
    });
    const pair = el("div", { class: "pair" }, el("div", {}, this.gaps.node, this.jobs.node), this.tags.node);
    this.parts = [this.facts.node, this.timeline.node, pair, this.sessions.node, this.rules.node];
    const title = el("summary", {}, el("h2", {}, name), this.chip, this.gapChip, this.brief);
    this.node = el("details", { class: "card" }, title, el("div", { class: "body" }, this.closed, ...this.parts));
    this.node.addEventListener("toggle", () => this.last && this.update(this.time, this.last));
  }
  progress(job) {
    const part = Math.min(Math.max(((job.complete_until ?? job.start) - job.start) / Math.max(job.end - job.start, 1), 0), 1);
    return { text: `${Math.floor(100 * part)} %`, part };
  }
  /** Shows a snapshot. Returns what needs attention. */
  update(time, account) {
    [this.time, this.last] = [time, account];
    const open = account.open;
    this.closed.hidden = open !== null;
    this.parts.forEach((part) => (part.hidden = open === null));
    this.gapChip.hidden = !open?.open_gaps;
    if (open === null) {
      write(this.chip, "Log not open");
      set(this.chip, { class: "chip bad" });
      return [[`Account ${this.name}: the log cannot be opened`, "bad"]];
    }
    const [label, tone] = STATES[open.upstream.state];
    write(this.chip, label);
    set(this.chip, { class: `chip ${tone}` });
    write(this.gapChip, many(open.open_gaps, "open gap"));
    const posts = open.tags.list.reduce((sum, tag) => sum + tag.per_second, 0);
    write(this.brief, `${many(open.sessions.count, "session")} · ${bytes(open.journal.bytes)} in the log`);
    if (this.node.open) this.show(time, open, posts);
    return this.problems(open);
  }
  show(time, open, posts) {
    const { upstream, journal, sessions } = open;
    const ago = (moment) => (moment === null ? "none yet" : time - moment < 1000 ? "just now" : `${duration(time - moment)} ago`);
    const silent = upstream.last_byte === null || time - upstream.last_byte > 25_000;
    this.facts.set("Last byte from X", ago(upstream.last_byte), upstream.last_error && upstream.state !== "connected" ? upstream.last_error : `last post ${ago(upstream.last_post)}`, silent ? "warn" : "");
    this.facts.set("Posts", `${rate(posts)}/s`, `${many(open.tags.count, "tag")}; a post counts for each of its tags`);
    const stalled = sessions.list.filter((own) => own.stalled_for >= STALLED_FROM).length;
    this.facts.set("Sessions", whole.format(sessions.count), stalled ? `${whole.format(stalled)} stalled` : "none stalled", stalled ? "warn" : "");
    const worst = sessions.list[0];
    this.facts.set("Furthest behind", worst ? (worst.lag_records ? duration(worst.lag) : "at the tip") : "–", worst?.lag_records ? `${many(worst.lag_records, "record")}: ${worst.consumer || "unnamed"}` : "");
    const bound = { age: `age (${duration(journal.age_max)})`, bytes: `size (${bytes(journal.bytes_max)})`, disk: "free space of the disk" }[journal.bound];
    this.facts.set("Oldest record", ago(journal.oldest), journal.oldest === null ? "" : `${at(journal.oldest)}; newest ${at(journal.newest)}`);
    this.facts.set("Log", bytes(journal.bytes), `${many(journal.records, "record")}; bounded by ${bound}`, journal.bound === "age" ? "" : "warn");
    this.facts.set("Accounting", open.unaccounted ? `${whole.format(open.unaccounted)} missing` : "Complete",
      open.unaccounted ? "messages that no counter has" : `every message is counted${open.in_flight ? `, ${whole.format(open.in_flight)} on the way` : ""}`, open.unaccounted ? "bad" : "ok");
    this.timeline.update(time, upstream, open.gaps);
    this.gaps.update(open.gaps);
    this.jobs.update(open.jobs);
    this.tags.update(open.tags);
    this.sessions.update(sessions);
    this.showRules(open.rules);
  }
  showRules(rules) {
    this.rules.node.hidden = rules === null;
    this.facts.facts.get("Rules").value.parentNode.hidden = rules === null;
    if (rules === null) return;
    const left = rules.budget_limit - rules.budget_used;
    const waits = rules.pending_adds + rules.pending_deletes;
    const state = rules.is_converged ? "at X as wanted" : waits ? `${many(waits, "change")} wait${waits === 1 ? "s" : ""}${rules.next_request === null ? "" : `, next in ${duration(rules.next_request)}`}` : rules.as_of === null ? "not read yet" : "not as wanted";
    this.facts.set("Rules", whole.format(rules.list.count), `${state}; ${whole.format(left)} of ${whole.format(rules.budget_limit)} requests left`, rules.problem ? "bad" : left <= rules.budget_reserve || waits ? "warn" : "");
    this.rules.update(rules.list);
  }
  problems(open) {
    const found = [];
    const { upstream, sessions } = open;
    if (upstream.state !== "connected") found.push([`Account ${this.name}: upstream is ${words(upstream.state)}${upstream.last_error ? `: ${upstream.last_error}` : ""}`, upstream.state === "connecting" ? "warn" : "bad"]);
    if (open.open_gaps) found.push([`Account ${this.name}: ${many(open.open_gaps, "gap")} not recovered yet`, "warn"]);
    if (open.journal.bound !== "age") found.push([`Account ${this.name}: records are removed before their age, for want of ${open.journal.bound === "bytes" ? "retention_bytes_max" : "disk space"}`, "warn"]);
    const stalled = sessions.list.filter((own) => own.stalled_for >= STALLED_FROM).length;
    if (stalled) found.push([`Account ${this.name}: ${many(stalled, "session")} with a client that does not read`, "warn"]);
    if (open.unaccounted && this.unaccounted) found.push([`Account ${this.name}: ${many(open.unaccounted, "message")} not accounted for, a defect of the gateway`, "bad"]);
    this.unaccounted = open.unaccounted;
    const { rules } = open;
    if (rules?.problem) found.push([`Account ${this.name}: ${rules.problem}`, "bad"]);
    const rejected = rules?.list.list.filter((rule) => rule.state === "rejected").length;
    if (rejected) found.push([`Account ${this.name}: X has rejected ${many(rejected, "rule")}`, "warn"]);
    if (rules?.unknown_ids) found.push([`Account ${this.name}: posts name ${many(rules.unknown_ids, "unknown rule")}; another client changes the rules`, "warn"]);
    return found;
  }
}

/** The whole page. */
class View {
  constructor() {
    this.chip = el("span", { class: "chip" });
    this.version = el("span", { class: "muted" });
    this.seen = el("span");
    const seen = el("span", { class: "seen" }, el("span", { class: "dot", "aria-hidden": "true" }), this.seen);
    this.lost = el("p", { class: "notice bad" });
    this.lost.hidden = true;
    this.list = el("ul");
    this.verdict = el("strong");
    this.notice = el("div", { class: "notice" }, this.verdict, this.list);
    this.facts = new Facts(["Uptime", "Configuration loaded", "Restart required"]);
    this.accounts = el("div");
    this.known = new Map();
    this.credentials = new Table({
      title: "Certificates and keys", empty: "No certificate, key set or token is configured.", key: (own) => `${own.kind} ${own.name}`,
      columns: [
        { label: "Kind", cell: (own) => words(own.kind) },
        { label: "Name", class: "name", cell: (own) => own.name },
        { label: "End", class: "time", cell: (own) => (own.end === null ? { text: "none", tone: "quiet" } : { text: dateOnly.format(own.end), title: at(own.end), tone: this.ending(own) }) },
        { label: "Remaining", class: "number", cell: (own) => (own.end === null ? { text: "–", tone: "quiet" } : { text: own.end > this.time ? duration(own.end - this.time) : "ended", tone: this.ending(own) }) },
        { label: "Problem", cell: (own) => (own.problem ? { text: own.problem, tone: "bad" } : { text: "–", tone: "quiet" }) },
      ],
    });
    const live = el("div", { role: "status", "aria-live": "polite" }, this.lost);
    const gateway = el("section", { class: "card", "aria-label": "Gateway" }, el("div", { class: "body" }, this.facts.node, this.credentials.node));
    this.main = el("main", { class: "aged" }, this.notice, this.accounts, gateway);
    const top = el("header", { class: "top" }, el("h1", {}, "Powerstream gateway"), this.chip, this.version, seen);
    page.append(top, live, this.main, el("footer", {}, "Times are UTC. Figures are of the time shown above; rates are over the last 10 s (sessions) and 60 s (tags). Nothing can be changed here."));
  }
  /** `warn` for a credential that ends soon, `bad` for one that has ended. A fetched key set is renewed by itself. */
  ending(own) {
    const left = own.end - this.time;
    return left <= 0 ? "bad" : own.kind === "certificate" && left < ENDING_WITHIN ? "warn" : "";
  }
  update(snapshot) {
    this.time = snapshot.time;
    const { process } = snapshot;
    const found = snapshot.unready_reasons.map((reason) => [`Not ready: ${reason}`, "bad"]);
    if (!process.is_last_reload_good) found.push(["The last reload of the configuration failed; the last good one is in force", "bad"]);
    if (process.restart_required.length) found.push([`A restart is required for: ${process.restart_required.join(", ")}`, "warn"]);
    for (const own of process.credentials ?? []) {
      const tone = own.end === null ? "" : this.ending(own);
      if (own.problem || tone) found.push([`${words(own.kind)} ${own.name}: ${own.problem || `ends in ${duration(own.end - this.time)}`}`, tone || "warn"]);
    }
    const names = new Set(snapshot.accounts.map((account) => account.name));
    for (const [name, own] of this.known) if (!names.has(name)) { own.node.remove(); this.known.delete(name); }
    snapshot.accounts.forEach((account, n) => {
      let own = this.known.get(account.name);
      if (!own) {
        own = new Account(account.name);
        own.node.open = snapshot.accounts.length <= 3;
        this.known.set(account.name, own);
      }
      if (this.accounts.children[n] !== own.node) this.accounts.insertBefore(own.node, this.accounts.children[n] ?? null);
      found.push(...own.update(snapshot.time, account));
    });
    this.facts.set("Uptime", duration(snapshot.time - process.started), `since ${at(process.started)}`);
    this.facts.set("Configuration loaded", `${duration(snapshot.time - process.last_reload)} ago`, process.is_last_reload_good ? at(process.last_reload) : "a later reload failed", process.is_last_reload_good ? "" : "bad");
    this.facts.set("Restart required", process.restart_required.length ? "Yes" : "No", process.restart_required.join(", "), process.restart_required.length ? "warn" : "");
    this.credentials.node.hidden = process.credentials === null;
    if (process.credentials) this.credentials.update({ list: process.credentials, count: process.credentials.length + process.credentials_left_off });
    this.judge(snapshot, found);
    page.hidden = false;
  }
  judge(snapshot, found) {
    const ready = snapshot.unready_reasons.length === 0;
    const tone = found.some(([, tone]) => tone === "bad") ? "bad" : found.length ? "warn" : "ok";
    write(this.chip, ready ? "Ready" : "Not ready");
    set(this.chip, { class: `chip ${ready ? "ok" : "bad"}` });
    write(this.version, `version ${snapshot.version}`);
    write(this.verdict, found.length ? `${many(found.length, "thing needs", "things need")} attention` : "Everything is in order");
    set(this.notice, { class: `notice ${tone}` });
    this.list.hidden = found.length === 0;
    const texts = found.map(([text]) => text);
    if (this.list.dataset.shown !== texts.join("\n")) {
      this.list.dataset.shown = texts.join("\n");
      this.list.replaceChildren(...texts.map((text) => el("li", {}, text)));
    }
    document.title = `${ready ? (tone === "ok" ? "OK" : `${found.length} !`) : "Not ready"} · Powerstream gateway`;
  }
  /** Shows whether data arrives; `since` is when it last did. */
  heard(since, reason) {
    const isLost = reason !== "";
    page.classList.toggle("is-lost", isLost);
    this.lost.hidden = !isLost;
    if (isLost) {
      write(this.lost, `${reason} since ${since ? `${at(since)} UTC` : "the page was opened"}. What is shown is from then; the page reconnects by itself.`);
      document.title = "No connection · Powerstream gateway";
      page.hidden = false;
    }
    write(this.seen, since ? `as of ${at(since)}` : "no data yet");
  }
}

const view = new View();
let source = null;
let heardAt = null;
let polling = null;
let openedAt = 0;
let reason = "";

function receive(snapshot) {
  heardAt = Date.now();
  reason = "";
  view.update(snapshot);
  view.heard(snapshot.time, "");
}
function lose(why) {
  if (reason === why) return;
  reason = why;
  view.heard(view.time ?? null, why);
}
/** For when events cannot be had: all places of watchers are in use, or a proxy does not pass them on. */
async function poll() {
  try {
    const answer = await fetch("status.json", { cache: "no-store" });
    if (answer.ok) receive(await answer.json());
    else lose(answer.status === 401 || answer.status === 403 ? "Not signed in (reload the page)" : `The gateway answers with ${answer.status}`);
    if (answer.ok && Date.now() - openedAt > 6 * POLL_INTERVAL) listen();
  } catch {
    lose("No connection to the gateway");
  }
}
function listen() {
  openedAt = Date.now();
  source?.close();
  source = new EventSource("status/events");
  source.addEventListener("status", (event) => {
    clearInterval(polling);
    polling = null;
    receive(JSON.parse(event.data));
  });
  source.addEventListener("error", () => {
    // Without an answer at all, the browser reconnects by itself; polling shows whether there is one.
    polling ??= setInterval(poll, POLL_INTERVAL);
    if (source.readyState === EventSource.CLOSED) poll();
  });
}
setInterval(() => {
  if (heardAt !== null && Date.now() - heardAt > STALE_AFTER) lose("No connection to the gateway");
}, 1_000);
listen();
