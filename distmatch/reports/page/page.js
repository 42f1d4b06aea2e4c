"use strict";
// Everything shown is in the page already; this points, chooses, searches and sorts.
document.body.classList.add("scripted");

const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

for (const view of all("section.view")) {
  for (const table of all("table.sortable", view)) makeSortable(table);
  if (view.classList.contains("map")) {
    pointAtFields(view);
  } else {
    const choose = () => chooseRows(view);
    for (const select of all("select.choice", view)) select.addEventListener("change", choose);
    view.querySelector(".search").addEventListener("input", choose);
    choose();
  }
  if (view.querySelector("svg.dots")) pointAtDots(view);
}

function makeSortable(table) {
  const heads = all("thead th", table).filter((head) => head.closest("table") === table);
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const isUp = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", isUp ? "ascending" : "descending");
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row) => [row.cells[column].dataset.sort, row]);
      body.append(...rows.sort((a, b) => compared(a[0], b[0], isUp)).map(([, row]) => row));
    });
  });
}

// Numbers as numbers, and what isn't there last in either order
function compared(a, b, isUp) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
  return isUp ? order : -order;
}

function chooseRows(view) {
  const sought = view.querySelector(".search").value.trim().toLowerCase();
  const chosen = all("select.choice", view).map((select) => select.value);
  const shown = new Set();
  const rows = [...view.querySelector("table.sortable").tBodies[0].rows];
  for (const row of rows) {
    const known = (row.dataset.known || "").split("\t");
    const isChosen = chosen.every((value, number) => value === "" || known[number] === value);
    const isFound = sought === "" || row.textContent.toLowerCase().includes(sought);
    row.hidden = !(isChosen && isFound);
    if (!row.hidden) shown.add(row.dataset.item);
  }
  const number = rows.filter((row) => !row.hidden).length;
  view.querySelector(".count").textContent = `${number} of ${rows.length}`;
  if (view.querySelector("svg.dots")) drawDots(view, shown, number === rows.length);
}

function drawDots(view, shown, areAll) {
  const dots = all(".marks circle", view);
  for (const dot of dots) {
    dot.toggleAttribute("hidden", !shown.has(dot.dataset.item));
    dot.setAttribute("tabindex", "-1");
  }
  dots.find((dot) => !dot.hasAttribute("hidden"))?.setAttribute("tabindex", "0");
  const select = view.querySelector("select.series");
  const number = select ? select.selectedIndex : 0;
  for (const dot of dots) dot.setAttribute("cy", dot.dataset.heights.split(" ")[number]);
  const name = select ? select.value : null;
  for (const part of all(".bins, .summary", view)) {
    // Means of all would say nothing of some
    part.toggleAttribute("hidden", !areAll || (name !== null && part.dataset.series !== name));
  }
}

function pointAtDots(view) {
  const told = view.querySelector(".told");
  const rows = new Map(all("tr[data-item]", view).map((row) => [row.dataset.item, row]));
  const select = view.querySelector("select.series");
  if (select) select.addEventListener("change", () => chooseRows(view));
  const tell = (dot) => {
    for (const old of all(".pointed", view)) old.classList.remove("pointed");
    const row = rows.get(dot.dataset.item);
    const copy = row.querySelector(".item").cloneNode(true);
    copy.querySelector(`[data-word="${dot.dataset.word}"]`).classList.add("pointed");
    told.replaceChildren(copy);
    dot.classList.add("pointed");
    row.classList.add("pointed");
  };
  const open = (dot) => {
    tell(dot);
    const details = rows.get(dot.dataset.item).querySelector("details");
    details.open = true;
    details.scrollIntoView({ block: "nearest" });
  };
  pointable(view.querySelector(".marks"), "circle", tell, open, (dots, dot, key) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[key];
    return dots[dots.indexOf(dot) + step];
  });
}

function pointAtFields(view) {
  const told = view.querySelector(".told");
  const facts = new Map(all("template", view).map((one) => [one.dataset.place, one.content]));
  const tell = (field) => {
    for (const old of all(".pointed", view)) old.classList.remove("pointed");
    told.replaceChildren(facts.get(field.dataset.place).cloneNode(true));
    for (const same of all(`.field[data-place="${field.dataset.place}"]`, view)) {
      same.classList.add("pointed");
    }
  };
  for (const map of all("svg.map", view)) {
    pointable(map, ".field", tell, tell, (fields, field, key) => {
      const [up, right] = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[key];
      const along = (one) =>
        up ? (one.dataset.row - field.dataset.row) * up : (one.dataset.column - field.dataset.column) * right;
      const across = (one) =>
        up ? one.dataset.column === field.dataset.column : one.dataset.row === field.dataset.row;
      return fields.filter((one) => across(one) && along(one) > 0).sort((a, b) => along(a) - along(b))[0];
    });
  }
}

// One stop of the tab key, arrows inside; `next` says where an arrow leads.
function pointable(picture, selector, tell, open, next) {
  const under = (event) => event.target.closest(selector);
  picture.addEventListener("pointerover", (event) => under(event) && tell(under(event)));
  picture.addEventListener("focusin", (event) => {
    for (const one of all(`${selector}[tabindex="0"]`, picture)) one.setAttribute("tabindex", "-1");
    event.target.setAttribute("tabindex", "0");
    tell(event.target);
  });
  picture.addEventListener("click", (event) => under(event) && open(under(event)));
  picture.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      open(event.target);
    } else if (event.key.startsWith("Arrow")) {
      event.preventDefault();
      const shown = all(selector, picture).filter((one) => !one.hasAttribute("hidden"));
      next(shown, event.target, event.key)?.focus();
    }
  });
}
