// JupyterLab with Codriver as its kernel, in folders of its own, and a browser page that shows it.

const { execFileSync, spawn } = require("node:child_process");
const fs = require("node:fs");
const net = require("node:net");
const os = require("node:os");
const path = require("node:path");
const { chromium } = require("playwright-core");

const ROOT = path.join(__dirname, "..", "..");
const TOKEN = "codriver-browser-test";

/** Starts the server on loopback and opens one notebook of the gallery in it. */
async function openNotebook(name) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "codriver-browser-"));
  const environment = prepare(folder, name);
  const port = await freePort();
  const server = startServer(folder, port, environment);
  const address = `http://127.0.0.1:${port}`;
  const browser = await chromium.launch({
    executablePath: process.env.CODRIVER_CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
      .concat(["--disable-background-networking", "--disable-component-update"]),
  });
  const close = async () => {
    await browser.close();
    await server.stop();
    fs.rmSync(folder, { recursive: true, force: true });
  };
  try {
    await server.ready(`${address}/api/status?token=${TOKEN}`);
    const page = await browser.newPage({ viewport: { width: 1180, height: 1400 }, deviceScaleFactor: 1.5 });
    await page.goto(`${address}/doc/tree/${name}.ipynb?token=${TOKEN}`);
    await page.waitForFunction(() => window.jupyterapp !== undefined, null, { timeout: 120_000 });
    await page.waitForFunction(kernelIsReady, null, { timeout: 120_000, polling: 100 });
    return { page, close, log: server.log };
  } catch (error) {
    await close();
    error.message += `\n--- jupyter lab ---\n${server.log()}`;
    throw error;
  }
}

/** Run in the page: until the session is there, running a cell would ask for a kernel. */
function kernelIsReady() {
  const session = window.jupyterapp.shell.currentWidget?.sessionContext;
  return session?.isReady === true && session.kernelDisplayStatus === "idle";
}

/** Starts one of JupyterLab's commands, as its menus do, and does not wait for its end. */
function command(page, id, options = {}) {
  const start = ([id, options]) => void window.jupyterapp.commands.execute(id, options);
  return page.evaluate(start, [id, options]);
}

/** Installs the kernel and writes the settings; returns the environment for the server. */
function prepare(folder, name) {
  const inside = (...names) => path.join(folder, ...names);
  const data = inside("data");
  fs.mkdirSync(inside("work"));
  fs.mkdirSync(data);
  fs.copyFileSync(path.join(ROOT, "notebooks", "gallery", `${name}.ipynb`), inside("work", `${name}.ipynb`));
  settings(inside("settings"), "apputils-extension/notification", { fetchNews: "false", checkForUpdates: false });
  // All cells stay in the page, also those that are scrolled out of view.
  settings(inside("settings"), "notebook-extension/tracker", { windowingMode: "none" });
  const environment = {
    ...process.env,
    CODRIVER_DATA_DIR: data,
    JUPYTER_PATH: inside("prefix", "share", "jupyter"),
    JUPYTER_CONFIG_DIR: inside("config"),
    JUPYTER_DATA_DIR: inside("jupyter"),
    JUPYTER_RUNTIME_DIR: inside("runtime"),
    JUPYTERLAB_SETTINGS_DIR: inside("settings"),
    JUPYTERLAB_WORKSPACES_DIR: inside("workspaces"),
  };
  execFileSync(process.env.CODRIVER, ["install", "--prefix", inside("prefix")], { env: environment });
  return environment;
}

function settings(folder, plugin, values) {
  const file = path.join(folder, "@jupyterlab", `${plugin}.jupyterlab-settings`);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, JSON.stringify(values));
}

function startServer(folder, port, environment) {
  const options = [`--ServerApp.port=${port}`, "--ServerApp.ip=127.0.0.1", `--IdentityProvider.token=${TOKEN}`]
    .concat([`--ServerApp.root_dir=${path.join(folder, "work")}`, "--ServerApp.open_browser=False"])
    .concat(["--ServerApp.allow_root=True", "--LabApp.expose_app_in_browser=True", "--ServerApp.port_retries=0"]);
  const python = process.env.CODRIVER_PYTHON || "python3";
  const child = spawn(python, ["-m", "jupyterlab", ...options], { env: environment, cwd: folder });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (piece) => (text += piece));
  const ended = new Promise((resolve) => child.on("exit", resolve));
  return {
    log: () => text,
    ready: async (address) => {
      for (const until = Date.now() + 90_000; Date.now() < until; ) {
        if (child.exitCode !== null) break;
        if (await fetch(address).then((answer) => answer.ok, () => false)) return;
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
      throw new Error("JupyterLab does not answer");
    },
    stop: async () => {
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), 15_000);
      await ended;
      clearTimeout(late);
    },
  };
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

module.exports = { command, openNotebook };
