// While a study trains: the page reads itself anew from its file, and keeps its place and what the reader has chosen.
(() => {
  "use strict";
  const { all } = dom;
  const root = document.documentElement;
  const notice = document.querySelector("[data-training]"); // which the finished page has not
  const before = history.state?.modelflow; // of the page that reloaded
  const FIRST = 10; // seconds until the page looks for news; longer each time that there is none
  const SLOWER = 1.5;
  const LONGEST = 300;
  const REST = 3; // seconds without a hand on the page, before it reloads

  // --- what is kept: each thing by words that a later page has too, not by its place in this one
  const nameOf = (part) => {
    const within = part.closest(".card");
    const words = within && within !== part ? within.querySelector("bdi").textContent : "";
    return `${part.closest("section, nav")?.id}|${words}`;
  };
  const named = (parts, words) => {
    const found = new Map();
    for (const part of parts) {
      const key = `${nameOf(part)}|${words(part)}`;
      let again = 0;
      while (found.has(`${key}|${again}`)) again += 1;
      found.set(`${key}|${again}`, part);
    }
    return found;
  };
  const titleOf = (summary) => summary.querySelector("bdi")?.textContent ?? summary.textContent.replace(/[\d.,]+/g, "0");
  const foldable = () => named(all("details"), (part) => titleOf(part.querySelector("summary")));
  const choices = () => named(all("select"), (part) => part.parentElement.firstChild.textContent.trim());
  const stops = () => named(all("a, button, input, select, summary, [tabindex]"), (part) => part.ariaLabel || part.value || part.textContent);
  const radios = () => all('input[type="radio"]');
  const chosenOf = (select) => select.selectedOptions[0]?.textContent;
  const keyOf = (found, wanted) => [...found].find(([, part]) => part === wanted)?.[0];

  const placeOf = () => {
    const above = all("main [id]").filter((part) => part.getBoundingClientRect().top <= 80 && part.offsetHeight);
    const last = above.at(-1);
    return last ? { id: last.id, down: last.getBoundingClientRect().top } : null;
  };
  const kept = () => ({
    open: [...foldable()].filter(([, part]) => part.open).map(([key]) => key),
    chosen: [...choices()].map(([key, select]) => [key, chosenOf(select)]),
    radios: radios().filter((radio) => radio.checked).map((radio) => [radio.name, radio.value]),
    hidden: all("[data-filter] input:not(:checked)").map((box) => box.parentElement.querySelector("bdi").textContent),
    picked: all('.pick[aria-checked="true"]').map((tile) => tile.ariaLabel),
    theme: root.dataset.theme,
    focus: keyOf(stops(), document.activeElement),
    place: placeOf(),
  });
  const changed = (part) => part.dispatchEvent(new Event("change", { bubbles: true }));
  const restore = (state) => {
    if (root.dataset.theme !== state.theme) document.getElementById("theme").click();
    for (const [key, part] of foldable()) part.open = state.open.includes(key);
    for (const name of new Set(state.hidden)) {
      const box = all("[data-filter] input:checked").find((one) => one.parentElement.querySelector("bdi").textContent === name);
      if (box) (box.checked = false), changed(box);
    }
    const selects = choices();
    for (const [key, words] of state.chosen) {
      const select = selects.get(key);
      const option = select && [...select.options].find((one) => one.textContent === words);
      if (option && !option.selected) (option.selected = true), changed(select);
    }
    for (const [name, value] of state.radios) {
      const radio = radios().find((one) => one.name === name && one.value === value);
      if (radio && !radio.checked) (radio.checked = true), changed(radio);
    }
    for (const label of state.picked) all(".pick").find((tile) => tile.ariaLabel === label)?.click();
    stops().get(state.focus)?.focus({ preventScroll: true });
  };
  const goBack = ({ place }) => {
    const part = place && document.getElementById(place.id);
    if (part) scrollTo(0, scrollY + part.getBoundingClientRect().top - place.down);
  };

  const whenDrawn = (then) => (root.dataset.ready ? then() : setTimeout(whenDrawn, 50, then));
  if (before) {
    history.replaceState(null, "");
    restore(before);
    goBack(before);
    whenDrawn(() => goBack(before));
  }

  // --- when: not while the reader draws, moves or has paused it; later and later where nothing new comes
  const follow = () => {
    const button = notice.querySelector("button");
    const finished = notice.dataset.training;
    const times = before?.finished === finished ? before.times + 1 : 0;
    let paused = before?.paused ?? false;
    let moved = 0;
    for (const kind of ["pointerdown", "pointermove", "keydown", "wheel", "touchmove"]) {
      addEventListener(kind, () => (moved = performance.now()), { passive: true });
    }
    const isPainted = () => all("[data-try]").some((part) => part.dataset.origin !== "test" || part.dataset.edited === "true" || "kept" in part.dataset);
    const isBusy = () => paused || document.hidden || performance.now() - moved < 1000 * REST || isPainted();
    const reload = () => {
      if (isBusy()) {
        setTimeout(reload, 1000);
        return;
      }
      history.scrollRestoration = "manual";
      history.replaceState({ modelflow: { ...kept(), finished, times, paused } }, "");
      location.reload();
    };
    const showPaused = () => {
      button.textContent = paused ? "Resume updating" : "Pause updating";
      button.setAttribute("aria-pressed", String(paused));
    };
    button.addEventListener("click", () => {
      paused = !paused;
      showPaused();
    });
    showPaused();
    whenDrawn(() => setTimeout(reload, 1000 * Math.min(LONGEST, FIRST * SLOWER ** times)));
  };
  if (notice) follow();
})();
