// The live tail of the audit explorer: reads the very page again and puts its events in place. Without this file the
// page works the same; it is read again by hand.
const place = document.querySelector("[data-tail]");
const isFirstPage = !new URLSearchParams(location.search).has("before");
if (place && isFirstPage) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "second";
  const status = document.createElement("span");
  status.className = "soft";
  status.setAttribute("role", "status");
  const bar = document.createElement("p");
  bar.className = "actions";
  bar.append(button, status);
  place.before(bar);
  let timer = 0;
  const show = () => {
    button.textContent = timer ? "Stop following" : "Follow";
    button.setAttribute("aria-pressed", String(timer !== 0));
  };
  const read = async () => {
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("[data-tail]");
      if (fresh && fresh.innerHTML !== place.innerHTML) place.replaceChildren(...fresh.childNodes);
      status.textContent = "";
    } catch {
      clearInterval(timer);
      timer = 0;
      status.textContent = "The server does not answer; following has stopped.";
      show();
    }
  };
  button.addEventListener("click", () => {
    if (timer) {
      clearInterval(timer);
      timer = 0;
    } else {
      timer = setInterval(read, 3000);
      read();
    }
    show();
  });
  show();
}
