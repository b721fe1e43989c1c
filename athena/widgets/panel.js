const SILENT_SECONDS = 5;

// A browser opens no file: link from a served page, so a report inside the server's folder is asked of the server.
function served(link) {
  let config = {};
  try { config = JSON.parse(document.getElementById("jupyter-config-data").textContent); } catch { return; }
  const root = (config.serverRoot ?? "").replace(/^~/, link.dataset.home).replace(/\/$/, "");
  if (!root || !link.dataset.page.startsWith(root + "/")) return;
  const path = link.dataset.page.slice(root.length + 1).split("/").map(encodeURIComponent).join("/");
  link.href = `${config.baseUrl ?? "/"}files/${path}`;
}

function render({ model, el }) {
  el.classList.add("athena", "athena-pane");
  const bar = document.createElement("div"), body = document.createElement("div");
  bar.className = "athena-silent"; bar.hidden = true; bar.setAttribute("role", "alert");
  el.append(bar, body);
  let heard = performance.now();
  const draw = () => { body.innerHTML = model.get("html"); body.querySelectorAll("a[data-page]").forEach(served); };
  const beat = () => { heard = performance.now(); };
  const look = () => {
    const silent = (performance.now() - heard) / 1000, stale = model.get("beat") > 0 && silent > SILENT_SECONDS;
    el.classList.toggle("athena-fallen-silent", stale); bar.hidden = !stale;
    if (stale) bar.textContent = `STALE: this kernel has said nothing for ${Math.floor(silent)} s. What is shown was`
      + ` true then. HALT works all the same; for the rest, athena status in a terminal, or restart the kernel.`;
  };
  model.on("change:html", draw); model.on("change:beat", beat);
  const timer = setInterval(look, 1000);
  draw();
  return () => { clearInterval(timer); model.off("change:html", draw); model.off("change:beat", beat); };
}
export default { render };
