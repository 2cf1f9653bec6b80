// Rows of something to copy: a name, the text, a button.

export function fill(template) {
  const { hostname, origin } = window.location;
  return template.replace("{host}", hostname).replace("{origin}", origin);
}

export function showCopies(list, rows) {
  list.replaceChildren(...rows.map(({ name, text }) => row(name, text)));
}

function row(name, text) {
  const line = document.createElement("div");
  const label = document.createElement("span");
  const code = document.createElement("code");
  const button = document.createElement("button");
  label.textContent = name;
  code.textContent = text;
  code.tabIndex = 0;
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy ${name}`);
  button.addEventListener("click", async () => {
    button.textContent = (await copied(text, code)) ? "Copied" : "Marked";
    setTimeout(() => (button.textContent = "Copy"), 1600);
  });
  line.append(label, code, button);
  return line;
}

async function copied(text, code) {
  try {
    // Only there in a secure context, which a camera server in the house seldom is.
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const selection = window.getSelection();
    selection.selectAllChildren(code);
    return document.execCommand("copy");
  }
}
