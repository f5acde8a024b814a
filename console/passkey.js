// Asks the browser for a passkey and puts its answer into the form. A form that needs one says so with `data-passkey`
// (`create` or `get`) and carries what is asked in `data-options`. Without this file such a form does nothing; everything else on
// the page works.
const bytes = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (character) => character.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replace(/\+/g, "-")
    .replace(/\//g, "_")
    .replace(/=+$/, "");
const named = (list) => (list ?? []).map((one) => ({ ...one, id: bytes(one.id) }));

const ask = async (kind, { publicKey }) => {
  const options = { ...publicKey, challenge: bytes(publicKey.challenge) };
  if (kind === "create") {
    options.user = { ...publicKey.user, id: bytes(publicKey.user.id) };
    options.excludeCredentials = named(publicKey.excludeCredentials);
    return navigator.credentials.create({ publicKey: options });
  }
  options.allowCredentials = named(publicKey.allowCredentials);
  return navigator.credentials.get({ publicKey: options });
};

const answer = ({ id, rawId, type, response }) => {
  const said = { clientDataJSON: text(response.clientDataJSON) };
  if (response.attestationObject) {
    said.attestationObject = text(response.attestationObject);
  } else {
    said.authenticatorData = text(response.authenticatorData);
    said.signature = text(response.signature);
    said.userHandle = response.userHandle?.byteLength ? text(response.userHandle) : null;
  }
  return JSON.stringify({ id, rawId: text(rawId), type, response: said, extensions: {} });
};

for (const form of document.querySelectorAll("form[data-passkey]")) {
  const button = form.querySelector("[data-ask]");
  if (!window.PublicKeyCredential) {
    button.insertAdjacentText("beforebegin", "This browser has no passkeys.");
    continue;
  }
  const status = document.createElement("p");
  status.setAttribute("role", "alert");
  button.after(status);
  button.disabled = false;
  form.addEventListener("submit", async (event) => {
    if (form.elements.credential.value) return;
    event.preventDefault();
    button.disabled = true;
    status.textContent = "";
    try {
      const passkey = await ask(form.dataset.passkey, JSON.parse(form.dataset.options));
      form.elements.credential.value = answer(passkey);
      form.submit();
    } catch (error) {
      button.disabled = false;
      status.className = "note warn";
      status.textContent =
        error.name === "InvalidStateError"
          ? "This passkey is registered already."
          : "No passkey was used. You can try again.";
    }
  });
}
