// Athena in JupyterLab's own frame: HALT and the system's state in the top bar, and the control room in launcher and
// palette. It needs no notebook and no kernel. Written by hand as the container that JupyterLab's module federation
// loads: `init` is handed what the page shares, `get` gives the plugin.
(() => {
  "use strict";
  const here = document.currentScript.src;
  const ROOM = "notebooks/control_room.ipynb";
  let shared = {};

  async function take(name) {
    const versions = Object.values(shared[name] || {});
    if (!versions.length) throw new Error(`this JupyterLab shares no ${name}`);
    return (await versions[0].get())();
  }

  async function plugin() {
    const [{ ILauncher }, { ICommandPalette, showErrorMessage }, { Widget }, { LabIcon }, halt] = await Promise.all([
      take("@jupyterlab/launcher"),
      take("@jupyterlab/apputils"),
      take("@lumino/widgets"),
      take("@jupyterlab/ui-components"),
      import(new URL("halt.js", here).href),
    ]);
    const icon = new LabIcon({
      name: "athena:halt",
      svgstr:
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="16"><path fill="#b3001b" d="M7.5 1h9L23 7.5v9L16.5 23h-9L1 16.5v-9z"/><path fill="#fff" d="M7 7h3v10H7zm7 0h3v10h-3z"/></svg>',
    });
    return {
      id: "athena:control-room",
      description: "HALT in the top bar, and the control room in launcher and palette.",
      autoStart: true,
      optional: [ILauncher, ICommandPalette],
      activate(app, launcher, palette) {
        const options = { notebook: "JupyterLab top bar" };
        const top = halt.control({ ...options, bar: true });
        halt.overDialogs(options);
        const widget = new Widget({ node: top.node });
        widget.id = "athena-halt";
        app.shell.add(widget, "top", { rank: 1000 });
        app.commands.addCommand("athena:open", {
          label: "Athena control room",
          caption: "Halt, resume and understand the live system",
          icon,
          execute: async () => {
            try {
              await app.serviceManager.contents.get(ROOM, { content: false });
            } catch {
              return showErrorMessage("No control room here", `There is no ${ROOM}. Start JupyterLab in the project's folder: make lab`);
            }
            const panel = await app.commands.execute("docmanager:open", { path: ROOM });
            await panel.context.ready;
            await panel.sessionContext.ready;
            await panel.sessionContext.session?.kernel?.info; // what is run while it still connects is lost
            if (panel.content.widgets.some((cell) => cell.model.executionCount)) return; // it is open already
            await app.commands.execute("notebook:run-all-cells");
          },
        });
        app.commands.addCommand("athena:halt", {
          label: "HALT all trading (Athena)",
          caption: "Stop all trading now; no kernel is needed",
          icon,
          execute: () => top.press(),
        });
        app.commands.addKeyBinding({ command: "athena:halt", keys: ["Accel Alt H"], selector: "body" });
        const asked = new URLSearchParams(location.search).get("athena") === "open"; // before the router rewrites it
        if (asked) app.restored.then(() => app.commands.execute("athena:open"));
        launcher?.add({ command: "athena:open", category: "Athena", rank: 0 });
        for (const command of ["athena:open", "athena:halt"]) palette?.addItem({ command, category: "Athena" });
      },
    };
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB.athena = {
    init(scope) {
      shared = scope;
    },
    async get(name) {
      if (name !== "./extension") return () => ({});
      const made = await plugin();
      return () => ({ __esModule: true, default: made });
    },
  };
})();
