// Zoom of the timelines, and the frame under the cursor. Without it the page shows the same at one size.
for (const card of document.querySelectorAll(".timeline")) {
  const chart = card.querySelector(".stretch"), zoom = card.querySelector("input"), hover = card.querySelector(".hover");
  const frames = JSON.parse(card.dataset.frames), duration = Number(card.dataset.duration);
  const scroll = chart.parentElement;
  const show = (event) => {
    const box = chart.getBoundingClientRect(), share = (event.clientX - box.left) / box.width;
    if (share < 0 || share > 1) return;
    const second = share * duration;
    const nearest = frames.reduce((a, b) => (Math.abs(b[0] - second) < Math.abs(a[0] - second) ? b : a), frames[0]);
    hover.querySelector("span").textContent = `${second.toFixed(2)} s`;
    if (nearest) hover.querySelector("img").src = `data:image/jpeg;base64,${nearest[1]}`;
    hover.style.left = `${event.clientX - card.getBoundingClientRect().left}px`;
    hover.hidden = false;
  };
  const scale = (factor, share) => {
    zoom.value = Math.min(zoom.max, Math.max(zoom.min, zoom.value * factor));
    const kept = (scroll.scrollLeft + share * scroll.clientWidth) / scroll.scrollWidth;
    chart.style.width = `${zoom.value * 100}%`;
    scroll.scrollLeft = kept * scroll.scrollWidth - share * scroll.clientWidth;
  };
  chart.addEventListener("mousemove", show);
  chart.addEventListener("mouseleave", () => (hover.hidden = true));
  zoom.addEventListener("input", () => scale(1, 0.5));
  scroll.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;  // the page scrolls as ever
    event.preventDefault();
    const box = scroll.getBoundingClientRect();
    scale(event.deltaY < 0 ? 1.25 : 0.8, (event.clientX - box.left) / box.width);
  }, { passive: false });
}
