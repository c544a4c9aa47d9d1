// The quickstart as a person sees it: JupyterLab in a browser, all cells run, and what is rendered.
//
// CODRIVER_SCREENSHOTS names a folder for pictures of it, in the light and the dark theme.

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { after, before, test } = require("node:test");
const { command, openNotebook } = require("./jupyterlab.cjs");

let lab;
let page;

before(async () => {
  lab = await openNotebook("quickstart");
  page = lab.page;
  await watchOutputs();
  await command(page, "notebook:run-all-cells");
  await allCellsHaveRun();
}, { timeout: 300_000 });

after(async () => {
  if (lab) await lab.close();
});

test("no cell failed, and each has its number", async () => {
  const errors = await page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]').allInnerTexts();
  assert.deepEqual(errors, []);
  const prompts = await page.locator(".jp-CodeCell .jp-InputPrompt").allInnerTexts();
  assert.deepEqual(prompts.map((prompt) => prompt.trim()), prompts.map((_, index) => `[${index + 1}]:`));
});

test("tables are tables", async () => {
  const table = cell("%%sql -o by_region").locator("table").first();
  const rows = await table.locator("tbody tr").allInnerTexts();
  assert.equal(rows.length, 4);
  assert.match(rows[0], /north\s+428\s+110,?500/);
});

test("the answer came in pieces and ends as Markdown", async () => {
  const agent = cell("total amount by region");
  assert.match(await agent.locator(".jp-OutputArea").textContent(), /110,?500/, "the tool's result, folded");
  assert.match(await agent.locator(".codriver-markdown p").last().innerText(), /\w/);
  const states = await page.evaluate(() => window.outputStates["total amount by region"]);
  assert.ok(states.length >= 3, `the output was seen in ${states.length} states only`);
});

test("tool and context cards are folded and open by a click", async () => {
  const cards = cell("how many orders are there?").locator("details");
  const titles = await cards.locator("summary").allInnerTexts();
  assert.ok(titles.some((title) => title.includes("sql")), `a card of the sql tool among ${titles}`);
  assert.ok(titles.some((title) => /context/i.test(title)), `a context card among ${titles}`);
  const tool = cards.filter({ has: page.locator("summary b", { hasText: /^sql$/ }) }).first();
  assert.equal(await tool.evaluate((card) => card.open), false);
  await tool.locator("summary").first().click();
  assert.equal(await tool.evaluate((card) => card.open), true);
  assert.match(await tool.innerText(), /select count\(\*\)/i);
});

test("a diff shows what is new in its own colour", async () => {
  const output = cell("%git diff").locator(".jp-OutputArea");
  assert.match(await output.innerText(), /\+\s*ORDER BY revenue DESC/);
  const lines = output.getByText("ORDER BY revenue DESC").first();
  const plain = output.getByText("FROM orders").first();
  const look = (line) => line.evaluate((node) => {
    const backgrounds = [];
    for (let at = node; at && !at.classList.contains("jp-OutputArea"); at = at.parentElement) {
      backgrounds.push(getComputedStyle(at).backgroundColor, getComputedStyle(at).color);
    }
    return backgrounds.join();
  });
  assert.notEqual(await look(lines), await look(plain));
});

test("both themes can be read, and are photographed", async () => {
  const folder = process.env.CODRIVER_SCREENSHOTS;
  for (const [name, theme] of [["light", "JupyterLab Light"], ["dark", "JupyterLab Dark"]]) {
    await command(page, "apputils:change-theme", { theme });
    await page.waitForFunction((theme) => document.body.dataset.jpThemeName === theme, theme);
    await page.waitForTimeout(500);
    assert.deepEqual(await unreadable(), [], `${name} theme`);
    if (folder) {
      fs.mkdirSync(folder, { recursive: true });
      await cell("%%sql -o by_region").evaluate((node) => node.scrollIntoView({ block: "start" }));
      await page.screenshot({ path: path.join(folder, `quickstart-${name}.png`) });
    }
  }
});

/** The code cell whose source contains `source`. */
function cell(source) {
  return page.locator(".jp-CodeCell").filter({ has: page.locator(".jp-InputArea", { hasText: source }) }).first();
}

/** Notes each state that the output of an agent's cell goes through, by its request. */
function watchOutputs() {
  return page.evaluate(() => {
    window.outputStates = {};
    for (const node of document.querySelectorAll(".jp-CodeCell")) {
      const [magic, request] = [...node.querySelectorAll(".cm-line")].map((line) => line.innerText.trim());
      if (magic !== "%%agent") continue;
      const states = (window.outputStates[request] = []);
      new MutationObserver(() => {
        const text = node.querySelector(".jp-OutputArea")?.innerText ?? "";
        if (text && text !== states.at(-1)) states.push(text);
      }).observe(node, { childList: true, subtree: true, characterData: true });
    }
  });
}

/** Waits until no cell waits or runs any more; a failing cell keeps those below it from running. */
async function allCellsHaveRun() {
  const settled = () => {
    const prompts = [...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")].map((node) => node.innerText.trim());
    return prompts.some((prompt) => /\d/.test(prompt)) && !prompts.some((prompt) => prompt.includes("*"));
  };
  await page.waitForFunction(settled, null, { timeout: 240_000, polling: 500 });
}

/** Texts in outputs whose colour is too close to what lies behind it (contrast below 3). */
function unreadable() {
  return page.evaluate(() => {
    const parse = (color) => {
      const [red, green, blue, alpha = 1] = (color.match(/[\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
      const scale = color.startsWith("color(") ? 255 : 1;
      return { rgb: [red * scale, green * scale, blue * scale], alpha };
    };
    const behind = (node) => {
      const layers = [];
      for (let at = node; at; at = at.parentElement) {
        const layer = parse(getComputedStyle(at).backgroundColor);
        layers.push(layer);
        if (layer.alpha === 1) break;
      }
      return layers.reverse().reduce((below, { rgb, alpha }) => rgb.map((value, index) => value * alpha + below[index] * (1 - alpha)), [255, 255, 255]);
    };
    const luminance = (rgb) => {
      const [red, green, blue] = rgb.map((value) => {
        const part = value / 255;
        return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const found = new Set();
    for (const node of document.querySelectorAll(".jp-CodeCell .jp-OutputArea *")) {
      const text = [...node.childNodes].filter((child) => child.nodeType === Node.TEXT_NODE).map((child) => child.data.trim()).join("");
      if (!text || !node.checkVisibility()) continue;
      const [low, high] = [luminance(parse(getComputedStyle(node).color).rgb), luminance(behind(node))].sort((a, b) => a - b);
      const contrast = (high + 0.05) / (low + 0.05);
      if (contrast < 3) found.add(`${text.slice(0, 40)} (${contrast.toFixed(1)})`);
    }
    return [...found];
  });
}
