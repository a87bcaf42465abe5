// Calls the method of this page, and shows the status and the body of the answer. Without it, the form is posted.
"use strict";

const MAX_SHOWN = 200000; // characters of an answer: more would make a browser slow

const element = (id) => document.getElementById(id);

function show(status, body) {
  element("caption").textContent = "Result";
  element("status").value = status;
  element("response").value = body.length > MAX_SHOWN ? body.slice(0, MAX_SHOWN) + "..." : body;
}

function login() {
  const username = element("username").value;
  const password = element("password").value;
  if (!username && !password) {
    return {}; // the browser asks for them, if it has to
  }
  const octets = new TextEncoder().encode(username + ":" + password);
  const headers = { Authorization: "Basic " + btoa(String.fromCharCode(...octets)) };
  return { headers, credentials: "omit" }; // or the browser would ask, with the call waiting, where they are wrong
}

function address(form) {
  const url = new URL(form.action);
  url.username = url.password = ""; // that this page's address may have, and that of a call must not
  return url;
}

function readable(type, body) {
  if (!type.startsWith("application/json")) {
    return body;
  }
  try {
    return JSON.stringify(JSON.parse(body), undefined, "\t");
  } catch {
    return body;
  }
}

async function call(form) {
  const answer = await fetch(address(form), {
    method: "POST",
    body: new URLSearchParams({ request: element("request").value }),
    ...login(),
    redirect: "error",
  });
  show(`${answer.status} ${answer.statusText}`, readable(answer.headers.get("Content-Type") ?? "", await answer.text()));
}

element("call").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    JSON.parse(element("request").value);
  } catch (error) {
    show("not sent", `The request is not JSON: ${error.message}`);
    return;
  }
  show("", "");
  element("fields").disabled = true;
  try {
    await call(event.target);
  } catch (error) {
    show("no answer", String(error.message));
  } finally {
    element("fields").disabled = false;
  }
});
