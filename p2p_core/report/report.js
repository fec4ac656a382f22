// Everything on the page works without this; it adds the compare slider and enlarging a picture.
const scene = [...document.querySelectorAll("#scene img")];
const box = document.querySelector("[data-compare]");
if (box && scene.length === 3) {
  const [input, generated, target] = scene;
  const make = (name, attributes, ...children) => {
    const element = Object.assign(document.createElement(name), attributes);
    element.append(...children);
    return element;
  };
  const copy = (image) => make("img", { src: image.src, alt: image.alt, width: image.width, height: image.height });
  const before = copy(input), after = copy(generated);
  const label = make("span", { className: "before", textContent: "Input map" });
  const range = make("input", { type: "range", min: 0, max: 100, step: 0.5, value: 50, ariaLabel: "How much of the generated picture to cover" });
  const frame = make("div", { className: "compare-frame" }, before, after, label,
    make("span", { className: "after", textContent: "Generated" }), range);
  range.addEventListener("input", () => frame.style.setProperty("--at", range.value + "%"));
  const choice = (text, image, checked) => {
    const radio = make("input", { type: "radio", name: "compare-with", checked });
    radio.addEventListener("change", () => { before.src = image.src; before.alt = image.alt; label.textContent = text; });
    return make("label", {}, radio, " " + text);
  };
  box.append(make("fieldset", { className: "choices" }, make("legend", { className: "hidden", textContent: "Compare the generated picture with" }),
    make("span", { className: "soft", textContent: "Generated, beside" }), choice("Input map", input, true), choice("True Blue Marble", target, false)), frame);
  box.hidden = false;
}
const dialog = document.querySelector("dialog");
if (dialog && dialog.showModal) {
  for (const image of document.querySelectorAll("img[data-zoom]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "zoom";
    button.ariaLabel = "Enlarge: " + image.alt;
    image.replaceWith(button);
    button.append(image);
    button.addEventListener("click", () => {
      dialog.querySelector("button").replaceChildren(Object.assign(document.createElement("img"), { src: image.src, alt: image.alt }));
      dialog.showModal();
    });
  }
}
