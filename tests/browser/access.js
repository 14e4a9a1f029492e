// What every page must offer to everybody: the checks that the scripts of the portal and of the desk share.

const { assert, origin, painted, pictures } = require("./portal-lib");

const AXE = require.resolve("axe-core/axe.min.js");
/** The most that a page may move while it loads. Less than this no eye sees. */
const MOST_SHIFT = 0.01;

/** What was found on any page. All of it is reported at the end. */
const findings = [];
function expectNone(found, where) {
  for (const text of found) {
    findings.push(`${where}: ${text}`);
    console.log(findings.at(-1));
  }
}

/** Checks what is shown, in both colour schemes and on the narrowest screen. */
async function check(page, name) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    // In the dark only the colours differ.
    const rules = colorScheme === "dark" ? { runOnly: ["color-contrast", "link-in-text-block"] } : {};
    const { violations } = await page.evaluate((rules) => axe.run(document, { ...rules, resultTypes: ["violations"] }), rules);
    const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).join("; ")}`);
    expectNone(found, `${name}, ${colorScheme}`);
    await page.screenshot({ path: `${pictures}/access-${name}-${colorScheme}.png`, fullPage: true });
  }
  await page.emulateMedia({ colorScheme: "light" });
  const size = page.viewportSize();
  await page.setViewportSize({ width: 320, height: 640 });
  const wide = await page.evaluate(() => {
    if (document.documentElement.scrollWidth <= 320) return [];
    return [...document.body.querySelectorAll("*")].filter((element) => element.getBoundingClientRect().right > 320).map((element) => element.outerHTML.slice(0, 120));
  });
  expectNone(wide, `${name} does not fit into 320 pixels`);
  await page.screenshot({ path: `${pictures}/access-${name}-320.png`, fullPage: true });
  await checkTargets(page, name);
  await page.setViewportSize(size);
  await checkTargets(page, name);
}

/** Checks that what is clicked is at least 24 pixels high and wide, except links in a sentence. */
async function checkTargets(page, name) {
  const small = await page.evaluate(() =>
    [...document.querySelectorAll("a, button, input, select, textarea, summary")]
      .filter((element) => element.checkVisibility() && !element.closest(".hidden, .skip, p") && !element.matches(".hidden, .skip"))
      .filter((element) => {
        const { width, height } = element.getBoundingClientRect();
        return width < 24 || height < 24;
      })
      .map((element) => element.outerHTML.slice(0, 120)),
  );
  expectNone(small, `${name} has a target below 24 pixels`);
}

/** Checks that the focus is never hidden and never trapped, from the first to the last element. */
async function checkFocus(page, name) {
  await page.evaluate(() => document.activeElement?.blur());
  const seen = new Set();
  for (let steps = 0; steps < 200; steps += 1) {
    await page.keyboard.press("Tab");
    const focused = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body) return null;
      const { x, y, width, height } = element.getBoundingClientRect();
      const middle = document.elementFromPoint(x + width / 2, y + Math.min(height, innerHeight) / 2);
      const isVisible = element.contains(middle) || (middle?.contains(element) ?? false);
      return { html: element.outerHTML.slice(0, 100), isVisible, place: `${Math.round(x)} ${Math.round(y + scrollY)}` };
    });
    if (!focused) break;
    if (!focused.isVisible) expectNone([focused.html], `${name} hides the focus`);
    const key = focused.html + focused.place;
    if (seen.has(key)) break;
    seen.add(key);
  }
  assert.ok(seen.size > 3, name);
}

async function prepare(page) {
  await page.context().addInitScript({ path: AXE });
  await page.context().addInitScript(() => {
    globalThis.shifted = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) globalThis.shifted += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
  });
}

/** Opens an address, waits for its content, and checks that nothing has moved meanwhile. */
async function open(page, path, content) {
  await page.goto(origin + path);
  await page.locator(content).first().waitFor();
  await painted(page);
  const shifted = await page.evaluate(() => globalThis.shifted);
  if (shifted > MOST_SHIFT) expectNone([`by ${shifted}`], `/${path} moves while it loads`);
}

/** Moves the focus to what has a name, by the keyboard alone. */
async function tabTo(page, name) {
  for (let steps = 0; steps < 100; steps += 1) {
    const found = await page.evaluate(() => {
      const { activeElement: element } = document;
      return element?.getAttribute("aria-label") ?? element?.labels?.[0]?.textContent ?? element?.textContent ?? "";
    });
    if (found.trim().startsWith(name)) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`no Tab leads to ${name}`);
}
async function activate(page, name) {
  await tabTo(page, name);
  await page.keyboard.press("Enter");
}

module.exports = { activate, check, checkFocus, findings, open, prepare, tabTo };
