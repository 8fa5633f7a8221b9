// Says which crystal the nearest dot is, and marks it in both figures of its arm.
"use strict";
(function () {
  const points = JSON.parse(document.getElementById("points").textContent);
  const box = document.getElementById("hover");
  const REACH = 22; // CSS pixels: a fingertip
  const short = (x) => String(Number(x.toPrecision(4)));

  function marker(svg) {
    const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    ring.setAttribute("r", "5");
    ring.setAttribute("fill", "none");
    ring.setAttribute("stroke", "#000");
    ring.style.display = "none";
    svg.append(ring);
    return ring;
  }

  for (const part of document.querySelectorAll("details[data-cloud]")) {
    const rows = points[part.dataset.cloud];
    const views = [...part.querySelectorAll("svg")].map((svg) => ({
      svg,
      ring: marker(svg),
      dots: [...svg.querySelectorAll('[id^="cloud"] use')].map((dot) => [
        Number(dot.getAttribute("x")),
        Number(dot.getAttribute("y")),
      ]),
    }));

    function hide() {
      box.style.display = "none";
      for (const view of views) view.ring.style.display = "none";
    }

    function show(view, event) {
      const matrix = view.svg.getScreenCTM();
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
      let found = -1;
      let least = REACH / matrix.a;
      view.dots.forEach(([x, y], index) => {
        const distance = Math.hypot(x - at.x, y - at.y);
        if (distance < least) [found, least] = [index, distance];
      });
      if (found < 0) return hide();
      for (const one of views) {
        one.ring.setAttribute("cx", one.dots[found][0]);
        one.ring.setAttribute("cy", one.dots[found][1]);
        one.ring.style.display = "";
      }
      const [id, formula, label, predicted] = rows[found];
      box.textContent =
        `${formula} · ${id}: label ${short(label)}, predicted ${short(predicted)}, ` +
        `error ${short(predicted - label)}`;
      box.style.display = "block";
      const left = Math.min(event.clientX + 12, window.innerWidth - box.offsetWidth - 8);
      const below = event.clientY + 18;
      const fits = below + box.offsetHeight < window.innerHeight;
      box.style.left = Math.max(8, left) + "px";
      box.style.top = (fits ? below : event.clientY - box.offsetHeight - 12) + "px";
    }

    for (const view of views) {
      for (const kind of ["pointermove", "pointerdown"])
        view.svg.addEventListener(kind, (event) => show(view, event));
      view.svg.addEventListener("pointerleave", (event) => {
        // A finger that is lifted leaves what it showed.
        if (event.pointerType === "mouse") hide();
      });
      window.addEventListener("scroll", hide, { passive: true });
    }
  }
})();
