/** The API page: all of it is drawn from openapi.json, as text and never as HTML. */

const api = await fetch("openapi.json").then((answer) => answer.json());

part("version").textContent = api.info.version;
part("operations").append(...told(api.info.description ?? ""));
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    const link = made("a", "", pill(method), made("code", "", path));
    link.href = `#${method}${path}`;
    part("routes").append(link);
    part("operations").append(section(method, path, operation));
  }
}
document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();

function section(method, path, { description, summary, parameters, requestBody, responses }) {
  const shown = made("section", "", made("h2", "", pill(method), made("code", "", path)));
  shown.id = method + path;
  shown.append(...told(description ?? summary ?? ""), made("pre", "", curl(method, path, requestBody)));
  if (parameters) {
    const rows = parameters.map((one) => ({ ...one, note: ` in ${one.in}` }));
    shown.append(made("h3", "", "Parameters"), table(rows));
  }
  if (requestBody) shown.append(made("h3", "", "Body"), ...contents(requestBody, ["", " required"]));
  const errors = made("ul", "");
  for (const [status, answer] of Object.entries(responses)) {
    const title = [made("b", "", status), " ", ...inline(answer.description)];
    const kinds = Object.keys(answer.content ?? {}).join(", ");
    if (status < 400) shown.append(made("h3", "", ...title), ...contents(answer, [" optional", ""]));
    else errors.append(made("li", "", ...title, made("span", "faint", ` ${kinds}`)));
  }
  if (errors.childElementCount) shown.append(made("h3", "", "Errors"), errors);
  return shown;
}

/** @param {[string, string]} notes beside fields that may be absent, and beside those that may not */
function contents({ content = {} }, notes) {
  return Object.entries(content).flatMap(([kind, { schema = {} }]) => {
    const rows = fields(schema, notes);
    const says = made("p", "", made("code", "", kind), ` ${type(schema)} `, ...inline(resolved(schema).description ?? ""));
    return rows.length ? [says, table(rows)] : [says];
  });
}

function resolved(schema) {
  return schema.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema;
}

/** Whose fields are shown: the object's itself, those of an array's items, of what may be null. */
function object(schema) {
  const of = resolved(schema);
  const inner = of.items ?? of.anyOf?.find((one) => one.type !== "null") ?? of.additionalProperties;
  return of.properties || typeof inner !== "object" ? of : object(inner);
}

function fields(schema, notes, depth = 0) {
  const { properties = {}, required = [] } = object(schema);
  return Object.entries(properties).flatMap(([name, one]) => [
    { name, schema: one, depth, note: notes[Number(required.includes(name))] },
    ...(depth < 4 ? fields(one, notes, depth + 1) : []),
  ]);
}

function type(schema) {
  const of = resolved(schema);
  if (of.anyOf) return of.anyOf.map(type).join(" or ");
  if ("const" in of) return JSON.stringify(of.const);
  if (of.enum) return of.enum.map((one) => JSON.stringify(one)).join(", ");
  if (of.prefixItems) return `[${of.prefixItems.map(type).join(", ")}]`;
  if (of.type === "array") return `array of ${type(of.items ?? {})}`;
  if (typeof of.additionalProperties === "object") return `names to ${type(of.additionalProperties)}`;
  const least = "exclusiveMinimum" in of ? `over ${of.exclusiveMinimum}` : of.minimum;
  const bounds = (least ?? of.maximum) === undefined ? "" : `, ${least ?? "…"} to ${of.maximum ?? "…"}`;
  return (of.format ?? of.type ?? "anything") + bounds;
}

function table(rows) {
  return made("table", "", ...rows.map(({ name, schema, description, note, depth = 0 }) => {
    const key = made("td", `depth-${depth}`, made("code", "", name), note);
    const given = schema.default === undefined ? "" : ` = ${JSON.stringify(schema.default)}`;
    const says = told(description ?? schema.description ?? "");
    return made("tr", "", key, made("td", "faint", type(schema), given), made("td", "", ...says));
  }));
}

/** What to type, for this service at the address where the page came from. */
function curl(method, path, body) {
  const url = decodeURI(new URL(path.slice(1), document.baseURI).href);
  const how = method === "get" ? "" : ` -X ${method.toUpperCase()}`;
  const [kind, { schema }] = Object.entries(body?.content ?? { "": {} })[0];
  const data = schema?.examples ? `-d '${JSON.stringify(schema.examples[0])}'` : "--data-binary @picture.jpg";
  return `curl${how}${kind && ` -H 'Content-Type: ${kind}' ${data}`} '${url}'`;
}

function told(text) {
  return text.split(/\n\s*\n/).filter(Boolean).map((paragraph) => made("p", "", ...inline(paragraph)));
}

/** What stands in backticks is code. */
function inline(text) {
  return text.split("`").map((one, i) => (i % 2 ? made("code", "", one) : one));
}

function pill(method) {
  return made("span", `pill ${method}`, method.toUpperCase());
}

function made(tag, className, ...children) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...children);
  return element;
}

function part(role) {
  return document.querySelector(`[data-role="${role}"]`);
}
