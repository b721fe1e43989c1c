function render({ model, el }) {
  el.classList.add("athena", "athena-table");
  const scroll = document.createElement("div"), table = document.createElement("table");
  const caption = document.createElement("caption"), head = document.createElement("thead");
  const body = document.createElement("tbody"), none = document.createElement("p");
  scroll.className = "scroll"; none.className = "soft"; table.append(caption, head, body);
  scroll.append(table); el.append(scroll, none);
  const rows = new Map();
  let sort = { column: -1, down: false };
  const choose = (id) => { model.set("selected", id); model.save_changes(); mark(); };
  const mark = () => rows.forEach((tr, id) => {
    const on = id === model.get("selected");
    tr.setAttribute("aria-selected", on); tr.classList.toggle("chosen", on);
  });
  const header = () => {
    const tr = document.createElement("tr");
    model.get("columns").forEach((column, n) => {
      const th = document.createElement("th"), button = document.createElement("button");
      th.scope = "col"; th.className = column.numeric ? "n" : "";
      const on = sort.column === n;
      th.setAttribute("aria-sort", on ? (sort.down ? "descending" : "ascending") : "none");
      button.type = "button"; button.className = "athena-sort"; button.title = `Sort by ${column.label}`;
      button.textContent = column.label + (on ? (sort.down ? " ▾" : " ▴") : "");
      button.onclick = () => { sort = { column: n, down: on ? !sort.down : !!column.numeric }; header(); draw(); };
      th.append(button); tr.append(th);
    });
    head.replaceChildren(tr);
  };
  const compare = (a, b) => {
    const x = a.cells[sort.column].v, y = b.cells[sort.column].v;
    const numbers = typeof x === "number" && typeof y === "number";
    const order = numbers ? x - y : String(x ?? "").localeCompare(String(y ?? ""));
    return sort.down ? -order : order;
  };
  const make = (row) => {
    const tr = document.createElement("tr");
    if (model.get("selectable")) {
      tr.tabIndex = 0; tr.className = "pick";
      tr.onclick = () => choose(row.id);
      tr.onkeydown = (event) => {
        const next = { ArrowDown: tr.nextSibling, ArrowUp: tr.previousSibling }[event.key];
        if (event.key === "Enter" || event.key === " ") choose(row.id);
        else if (next) next.focus();
        else return;
        event.preventDefault(); event.stopPropagation();
      };
    }
    tr.dataset.id = row.id;
    return tr;
  };
  const fill = (tr, row) => {
    const columns = model.get("columns");
    row.cells.forEach((cell, n) => {
      const td = tr.children[n] ?? tr.appendChild(document.createElement("td"));
      const name = (columns[n].numeric ? "n " : "") + (cell.tone ? `tone-${cell.tone} toned` : "");
      if (td.textContent !== cell.t) td.textContent = cell.t;
      if (td.className !== name) td.className = name;
      td.dataset.label = columns[n].label;
    });
  };
  const draw = () => {
    const wanted = [...model.get("rows")];
    if (sort.column >= 0) wanted.sort(compare);
    const ids = new Set(wanted.map((row) => row.id));
    rows.forEach((tr, id) => { if (!ids.has(id)) { tr.remove(); rows.delete(id); } });
    wanted.forEach((row, n) => {
      if (!rows.has(row.id)) rows.set(row.id, make(row));
      const tr = rows.get(row.id);
      fill(tr, row);
      if (body.children[n] !== tr) body.insertBefore(tr, body.children[n] ?? null);
    });
    caption.textContent = model.get("caption");
    none.textContent = model.get("empty"); none.hidden = wanted.length > 0; table.hidden = wanted.length === 0;
    mark();
  };
  table.setAttribute("aria-label", model.get("label"));
  const whole = () => { header(); draw(); };
  model.on("change:rows", draw); model.on("change:columns", whole); model.on("change:selected", mark);
  model.on("change:caption", draw); model.on("change:empty", draw);
  whole();
  return () => model.off(null, null, null);
}
export default { render };
