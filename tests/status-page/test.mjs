// The status page in headless Chromium. Each case prints its outcome; the exit code is 1 if one fails.

import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { HOSTILE_TAG, Stage, eventually } from "./stage.mjs";

const { chromium } = await import(process.env.PLAYWRIGHT);
const { CHROMIUM, GATEWAY, SCREENSHOTS } = process.env;
const WIDTHS = { wide: 1280, narrow: 360 };
const stage = new Stage(GATEWAY);
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
let failures = 0;

/** Runs a case with a page of its own. Any error or console message fails the case, except those that it expects. */
async function test(name, options, run) {
  const { expected = null, url = "/", ...context } = options;
  const own = await browser.newContext({ viewport: { width: WIDTHS.wide, height: 900 }, ...context });
  const page = await own.newPage();
  const said = [];
  page.on("console", (message) => said.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => said.push(`uncaught: ${error}`));
  page.on("dialog", (dialog) => { said.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (request) => {
    if (!request.url().startsWith(base()) && !request.url().startsWith("data:")) said.push(`request to ${request.url()}`);
  });
  try {
    await page.goto(base() + url);
    await run(page, own);
    const unexpected = said.filter((text) => expected === null || !expected.test(text));
    assert.deepEqual(unexpected, [], "the console stays empty");
    console.log(`ok: ${name}`);
  } catch (error) {
    failures += 1;
    console.log(`FAILED: ${name}\n${error.stack}\n${said.slice(0, 10).join("\n")}`);
  } finally {
    await own.close();
  }
}

const base = () => `http://127.0.0.1:${stage.admin}`;
const table = (page, title) => page.getByRole("region", { name: title, exact: true });
const column = (page, title, n) => table(page, title).locator(`tbody tr td:nth-child(${n})`).allTextContents();
const shown = (page) => page.locator("#page:not([hidden]) .card").first().waitFor();
const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

/** Contrast of the text of an element with what is behind it (WCAG 2). */
function contrasts() {
  const parse = (color) => (color.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((part) => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const color = parse(getComputedStyle(node).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const bad = [];
  for (const node of document.querySelectorAll("#page *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.textContent.trim());
    if (!own || node.closest("svg") || !node.getClientRects().length) continue;
    const [a, b] = [luminance(parse(getComputedStyle(node).color)), luminance(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push(`${node.tagName}.${node.className} "${node.textContent.slice(0, 30)}": ${ratio.toFixed(2)}`);
  }
  return [...new Set(bad)];
}

async function screenshots() {
  for (const scheme of ["light", "dark"]) {
    for (const [name, width] of Object.entries(WIDTHS)) {
      await test(`${scheme} at ${width} px: nothing overflows, texts have contrast`, { colorScheme: scheme, viewport: { width, height: 900 } }, async (page) => {
        await shown(page);
        await eventually("sessions are shown", async () => (await column(page, "Sessions", 1)).length > 10);
        assert.equal(await overflow(page), 0, "the page does not scroll sideways");
        assert.deepEqual(await page.evaluate(contrasts), []);
        const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
        assert.equal(ground, scheme === "light" ? "rgb(244, 246, 248)" : "rgb(13, 17, 23)");
        if (SCREENSHOTS) {
          mkdirSync(SCREENSHOTS, { recursive: true });
          await page.screenshot({ path: join(SCREENSHOTS, `status-page-${scheme}-${name}.png`), fullPage: name === "wide" });
        }
      });
    }
  }
}

async function outage() {
  await eventually("posts are logged", async () => {
    const { accounts } = await (await fetch(`${base()}/status.json`)).json();
    return accounts[0].open.journal.records > 200;
  });
  // Long enough that posts are due in it, short enough for backfill.
  await stage.play("refuse?status=503");
  await stage.play("cut?kind=reset");
  await eventually("the gap is open", async () => (await (await fetch(`${base()}/status.json`)).json()).accounts[0].open.open_gaps === 1);
  await fetch(`http://127.0.0.1:${stage.x}/simulator/refuse`, { method: "DELETE" });
}

async function keyboard() {
  await test("keyboard: order, visible focus, sort by Enter", {}, async (page) => {
    await shown(page);
    await eventually("sessions are shown", async () => (await column(page, "Sessions", 1)).length > 10);
    const visited = [];
    for (let n = 0; n < 40; n++) {
      await page.keyboard.press("Tab");
      const focus = await page.evaluate(() => {
        const node = document.activeElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(node);
        const y = node.getBoundingClientRect().top + scrollY;
        return { name: node.textContent.slice(0, 12) || node.getAttribute("aria-label"), tag: node.tagName, outline: outlineStyle !== "none" && outlineWidth !== "0px", y };
      });
      if (focus.tag === "BODY") break;
      visited.push(focus);
    }
    assert.ok(visited.length > 15, `${visited.length} places`);
    assert.deepEqual(visited.filter((own) => !own.outline).map((own) => own.name), [], "each has a visible focus");
    assert.equal(visited[0].tag, "SUMMARY");
    const parts = visited.filter((own) => own.tag === "DIV").map((own) => own.y);
    assert.deepEqual(parts, [...parts].sort((a, b) => a - b), "from top to bottom");
    const sort = page.getByRole("columnheader", { name: "Consumer" });
    assert.equal(await sort.getAttribute("aria-sort"), "none");
    await sort.getByRole("button").focus();
    for (const [expected, sign] of [["ascending", 1], ["descending", -1]]) {
      await page.keyboard.press("Enter");
      assert.equal(await sort.getAttribute("aria-sort"), expected);
      const names = await column(page, "Sessions", 1);
      assert.deepEqual(names, [...names].sort((a, b) => sign * a.localeCompare(b)));
    }
    const time = await page.locator(".seen").textContent();
    await eventually("a snapshot arrives", async () => (await page.locator(".seen").textContent()) !== time);
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Consumer", "focus stays at an update");
    assert.equal(await sort.getAttribute("aria-sort"), "descending", "so does the order");
  });
}

async function conditions() {
  const motion = (page) => page.evaluate(() => getComputedStyle(document.querySelector(".dot")).animationName);
  await test("reduced motion: nothing moves", { reducedMotion: "reduce" }, async (page) => {
    await shown(page);
    assert.equal(await motion(page), "none");
  });
  await test("motion: a dot only", { reducedMotion: "no-preference" }, async (page) => {
    await shown(page);
    assert.equal(await motion(page), "beat");
  });
  await test("without scripts: tables of the server", { javaScriptEnabled: false }, async (page) => {
    await page.locator(".plain p", { hasText: "Scripts are off" }).waitFor();
    assert.equal(await page.locator("caption", { hasText: "Sessions" }).count(), 1);
    assert.ok((await page.locator("td", { hasText: "cats" }).count()) > 0);
    assert.ok((await overflow(page)) <= 0);
  });
}

async function hostile() {
  await stage.play("publish", { text: "x", matching_rules: [{ tag: HOSTILE_TAG, id: 1 }] });
  const channel = stage.channel();
  stage.subscribe(channel, "<script>alert(2)</script>").resume();
  await test("hostile names are text", {}, async (page) => {
    await shown(page);
    await eventually("the tag is shown", async () => (await column(page, "Tags", 1)).includes(HOSTILE_TAG));
    await eventually("the consumer is shown", async () => (await column(page, "Sessions", 1)).includes("<script>alert(2)</script>"));
    assert.equal(await page.locator("#page img, #page script").count(), 0);
  });
  await test("hostile names are text without scripts", { javaScriptEnabled: false }, async (page) => {
    await page.locator("td", { hasText: "<img src=x" }).waitFor();
    assert.equal(await page.locator("img").count(), 0);
  });
  await test("the policy blocks what is not embedded", { expected: /Content Security Policy/ }, async (page) => {
    await shown(page);
    const ran = await page.evaluate(() => {
      const script = document.createElement("script");
      script.textContent = "window.ran = true";
      document.body.append(script);
      return Boolean(window.ran);
    });
    assert.equal(ran, false);
  });
}

async function places() {
  await test("polls while all places are in use", { expected: /503/ }, async (page) => {
    await shown(page);
    const before = await page.locator(".seen").textContent();
    await eventually("a later snapshot is shown", async () => (await page.locator(".seen").textContent()) !== before);
    assert.equal(await page.locator("#page.is-lost").count(), 0);
  });
}

async function many() {
  stage.sessions(1_000, 2);
  await test("1,000 sessions: shown, filtered, sorted", {}, async (page) => {
    await shown(page);
    await eventually("1,000 sessions are shown", async () => (await column(page, "Sessions", 1)).length === 1_000);
    const started = Date.now();
    await page.getByRole("columnheader", { name: "Consumer" }).getByRole("button").click();
    assert.ok(Date.now() - started < 5_000, "a sort is no wait");
    await page.getByLabel("Filter sessions").fill("archive-99");
    const names = await column(page, "Sessions", 1);
    assert.ok(names.length >= 1 && names.every((name) => name.includes("archive-99")), names.join());
    assert.equal(await overflow(page), 0);
  });
}

async function restart() {
  await test("gateway stopped and back: the page says since when", { expected: /ERR_|Failed to load|404|503/ }, async (page) => {
    await shown(page);
    await stage.stop("gateway");
    const notice = page.locator(".notice.bad", { hasText: "No connection" });
    await notice.waitFor({ timeout: 30_000 });
    assert.match(await notice.textContent(), /since \d+ \w+ \d\d:\d\d:\d\d UTC/);
    assert.match(await page.title(), /No connection/);
    assert.equal(await page.locator("#page.is-lost").count(), 1);
    if (SCREENSHOTS) await page.screenshot({ path: join(SCREENSHOTS, "lost.png") });
    await stage.startGateway();
    await eventually("the page is up to date again", async () => (await page.locator("#page.is-lost").count()) === 0);
    await eventually("the notice is gone", async () => !(await notice.isVisible()));
  });
}

async function signIn() {
  await stage.stop("gateway");
  // The token is on stdout, and a token file on stderr.
  const { stdout, stderr } = spawnSync(GATEWAY, ["credential", "new", "--principal", "operator"], { encoding: "utf8" });
  const token = stdout.trim();
  const file = join(stage.dir, "tokens.yaml");
  writeFileSync(file, stderr);
  const roles = [{ name: "operator", accounts: ["*"], rights: ["status"] }];
  await stage.startGateway({ auth: { token_files: [file] }, roles, principals: [{ name: "operator", roles: ["operator"] }] });
  await test("sign-in: a token as password, also for events", { httpCredentials: { username: "anyone", password: token } }, async (page) => {
    await shown(page);
    const before = await page.locator(".seen").textContent();
    await eventually("events arrive", async () => (await page.locator(".seen").textContent()) !== before);
    const text = await page.content();
    assert.ok(!text.includes(token), "the token is not shown");
    assert.equal(await page.evaluate(() => document.cookie), "");
  });
  const without = await fetch(`${base()}/`);
  const isAsked = without.status === 401 && without.headers.get("www-authenticate").startsWith("Basic ") && !(await without.text()).includes("main");
  failures += isAsked ? 0 : 1;
  console.log(`${isAsked ? "ok" : "FAILED"}: sign-in: without a token the browser is asked for one`);
}

try {
  await stage.start();
  stage.sessions(24, 1);
  await outage();
  await screenshots();
  await keyboard();
  await conditions();
  await hostile();
  await many();
  await restart();
  await stage.stop("gateway");
  await stage.startGateway({ admin: { address: `127.0.0.1:${stage.admin}`, watchers_max: 1 } });
  const held = await fetch(`${base()}/status/events`);
  await places();
  await held.body.cancel();
  await signIn();
} catch (error) {
  failures += 1;
  console.log(`FAILED: ${error.stack}`);
  for (const [name, child] of stage.children) console.log(`${name}: ${child.log.slice(-1500)}`);
} finally {
  await browser.close();
  await stage.close();
}
console.log(failures === 0 ? "all passed" : `${failures} failed`);
process.exit(failures === 0 ? 0 : 1);
