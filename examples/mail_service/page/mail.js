// The page: signs in, and does with the API what a person wants done. What comes from messages is only ever text.
"use strict";

const at = (id) => document.getElementById(id);
const state = { tenant: "", mayWrite: false, folder: "inbox", folders: [], next: null, open: null };

// The token lives as long as this tab, and is sent in one header; never in an address.
const token = {
  get: () => sessionStorage.getItem("token"),
  set: (value) => sessionStorage.setItem("token", value),
  drop: () => sessionStorage.removeItem("token"),
};

// The answer to what somebody has asked who has signed out since. Nothing comes of it.
class Overtaken extends Error {}

class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// What comes back is there whole: its headers, and `content`, as "text" or "blob".
async function call(method, path, { body, headers, as = "text" } = {}) {
  const [sent, bearer] = [{ ...headers }, token.get()];
  if (bearer) sent.authorization = `Bearer ${bearer}`;
  if (body !== undefined) sent["content-type"] = "application/json";
  let answer, content;
  try {
    answer = await fetch(path, { method, headers: sent, body: body === undefined ? undefined : JSON.stringify(body) });
    content = await (answer.ok ? answer[as]() : answer.text());
  } catch {
    answer = null;
  }
  if (token.get() !== bearer) throw new Overtaken();
  if (!answer) throw new Refused(0, "The service does not answer.");
  if (answer.ok) return { headers: answer.headers, content };
  throw new Refused(answer.status, detailOf(content) || `The service answers ${answer.status}.`);
}

function detailOf(problem) {
  try {
    return JSON.parse(problem).detail;
  } catch {
    return "";
  }
}

const json = async (...request) => JSON.parse((await call(...request)).content);
const folderPath = (folder) => `/t/${encodeURIComponent(state.tenant)}/folders/${encodeURIComponent(folder)}`;
const messagePath = (folder, id) => `${folderPath(folder)}/messages/${id}`;

// What was asked for last, of lists and of messages: an answer that something newer has overtaken is not shown any more.
const newest = { list: 0, message: 0 };

function overtake(kind) {
  const number = ++newest[kind];
  return () => newest[kind] === number;
}

function say(where, text) {
  for (const id of ["notice", "alert"]) at(id).hidden = true;
  at(where).textContent = text.charAt(0).toUpperCase() + text.slice(1);
  at(where).hidden = !text;
}

function explain(error) {
  if (error instanceof Overtaken) return;
  if (!(error instanceof Refused)) throw error;
  if (error.status === 401 && token.get()) {
    signOut();
    return say("alert", "Your session has ended. Sign in again.");
  }
  if (error.status === 412) return say("alert", "Somebody has changed this message meanwhile. Open it again.");
  say("alert", error.message);
}

// Runs what a button does: once at a time, and whatever is refused is said.
function on(id, event, work) {
  at(id).addEventListener(event, async (happened) => {
    happened.preventDefault();
    const button = happened.submitter || (happened.target.closest && happened.target.closest("button"));
    if (button) button.disabled = true;
    try {
      await work(happened);
    } catch (error) {
      explain(error);
    } finally {
      if (button) button.disabled = false;
    }
  });
}

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function time(seconds) {
  return new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

// --- Signing in and out

on("sign-in", "submit", async () => {
  const body = { name: at("name").value.trim(), password: at("password").value };
  at("password").value = "";
  token.drop();
  const answer = await json("POST", "/signin", { body });
  token.set(answer.token);
  await enter();
});

on("sign-out", "click", async () => {
  signOut();
  say("notice", "Signed out.");
  at("name").focus();
});

function signOut() {
  token.drop();
  Object.assign(state, { tenant: "", mayWrite: false, folder: "inbox", folders: [], next: null, open: null });
  for (const id of ["messages", "folders", "attachments"]) at(id).replaceChildren();
  for (const id of ["who", "folder-title", "text", "subject", "from", "to", "date", "expires"]) at(id).textContent = "";
  for (const form of document.forms) form.reset();
  at("target").replaceChildren();
  overtake("list");
  at("list-view").ariaBusy = false;
  closeMessage();
  at("mail-view").hidden = at("sign-out").hidden = at("who").hidden = true;
  at("sign-in-view").hidden = false;
}

async function enter() {
  const me = await json("GET", "/me");
  Object.assign(state, { tenant: me.tenant, mayWrite: me.may_write });
  for (const id of ["write", "make-folder", "actions"]) at(id).hidden = !me.may_write;
  at("who").textContent = `${me.name}, ${me.tenant}`;
  at("mailbox").value = me.tenant;
  at("sign-in-view").hidden = true;
  at("mail-view").hidden = at("sign-out").hidden = at("who").hidden = false;
  await openMailbox(me.tenant);
}

// --- Mailboxes and folders

on("open-mailbox", "submit", async () => {
  const wanted = at("mailbox").value.trim();
  try {
    await openMailbox(wanted);
  } catch (error) {
    at("mailbox").value = state.tenant;
    if (error.status === 403) throw new Refused(403, `You may not open the mailbox of “${wanted}”: ${error.message}`);
    throw error;
  }
});

async function openMailbox(tenant) {
  const { folders } = await json("GET", `/t/${encodeURIComponent(tenant)}/folders`);
  Object.assign(state, { tenant, folders, folder: "inbox" });
  closeMessage();
  at("query").value = "";
  say("notice", "");
  await list();
}

on("make-folder", "submit", async () => {
  const name = at("new-folder").value.trim();
  await call("PUT", folderPath(name));
  at("new-folder").value = "";
  state.folders = (await json("GET", `/t/${encodeURIComponent(state.tenant)}/folders`)).folders;
  showFolders();
  say("notice", `There is a folder “${name}” now.`);
});

function showFolders() {
  at("folders").replaceChildren(...state.folders.map((folder) => {
    const button = element("button", { type: "button", textContent: folder });
    if (folder === state.folder) button.setAttribute("aria-current", "page");
    button.addEventListener("click", () => {
      state.folder = folder;
      at("query").value = "";
      closeMessage();
      say("notice", "");
      list().catch(explain);
    });
    return element("li", {}, button);
  }));
}

// --- Lists

on("search", "submit", () => list());
on("more", "click", () => list(state.next));

async function list(after) {
  const query = new URLSearchParams({ limit: 50 });
  const sought = at("query").value.trim();
  if (sought) query.set("q", sought);
  if (after) query.set("after", after);
  const [folder, isNewest] = [state.folder, overtake("list")];
  at("list-view").ariaBusy = true;
  if (!after) {
    // Nobody asks for more of what the list showed before.
    state.next = null;
    at("more").hidden = true;
  }
  let page;
  try {
    page = await json("GET", `${folderPath(folder)}/messages?${query}`);
  } finally {
    if (isNewest()) at("list-view").ariaBusy = false;
  }
  if (!isNewest()) return;
  showFolders();
  at("folder-title").textContent = sought ? `${folder}: “${sought}”` : folder;
  if (!after) at("messages").replaceChildren();
  at("messages").append(...page.messages.map((message) => row(message, folder)));
  state.next = page.next;
  at("more").hidden = !page.next;
  at("empty").hidden = at("messages").children.length > 0 || page.next !== null;
  at("empty").textContent = sought ? "Nothing found." : "Nothing here.";
}

function row(message, folder) {
  const who = folder === "sent" ? `To: ${message.to}` : message.from;
  const files = message.attachments === 1 ? "1 file" : message.attachments ? `${message.attachments} files` : "";
  const button = element("button", { type: "button" },
    element("span", { className: "who", dir: "auto", textContent: who || "(nobody)" }),
    element("span", { className: "when", textContent: time(message.date_secs) }),
    element("span", { className: "about", dir: "auto", textContent: message.subject || "(no subject)" }),
    element("span", { className: "files", textContent: files }),
    element("span", { className: "start", dir: "auto", textContent: message.excerpt }));
  if (!message.seen) button.append(element("span", { className: "unseen", textContent: "not read yet" }));
  button.addEventListener("click", () => openMessage(folder, message.id).catch(explain));
  button.dataset.id = message.id;
  if (state.open && state.open.id === message.id) button.setAttribute("aria-current", "true");
  return element("li", { className: message.seen ? "" : "new" }, button);
}

// The row of a message in the list as it is now, if it is there.
const rowOf = ({ id }) => at("messages").querySelector(`[data-id="${CSS.escape(id)}"]`);

// --- One message

async function openMessage(folder, id) {
  say("notice", "");
  const [path, isNewest] = [messagePath(folder, id), overtake("message")];
  let answer;
  try {
    answer = await call("GET", path);
  } catch (error) {
    if (!isNewest()) return;
    // It has expired, or somebody has moved it: what the list shows is of before.
    if (error.status === 404) {
      await list();
      at("folder-title").focus();
    }
    throw error;
  }
  if (!isNewest()) return;
  const message = JSON.parse(answer.content);
  const open = { id, path, tag: answer.headers.get("etag"), change: Promise.resolve() };
  state.open = open;
  for (const other of at("messages").querySelectorAll("[aria-current]")) other.removeAttribute("aria-current");
  rowOf(open)?.setAttribute("aria-current", "true");
  at("subject").textContent = message.subject || "(no subject)";
  at("from").textContent = message.from;
  at("to").textContent = message.to;
  at("date").textContent = time(message.date_secs);
  at("expires").textContent = message.expires_at_secs ? time(message.expires_at_secs) : "";
  for (const part of document.querySelectorAll(".expiry")) part.hidden = !message.expires_at_secs;
  at("text").textContent = message.text;
  at("attachments").replaceChildren(...message.attachments.map((file, number) => attachment(`${path}/attachments/${number}`, file)));
  const targets = state.folders.filter((target) => target !== folder);
  at("target").replaceChildren(...targets.map((target) => element("option", { value: target, textContent: target })));
  document.querySelector(".columns").classList.add("reading");
  at("read-view").hidden = false;
  at("subject").focus();
  if (!message.seen && state.mayWrite) await mark(open, true);
}

function attachment(path, file) {
  const label = `${file.name} (${file.kind}, ${file.size.toLocaleString()} bytes)`;
  const button = element("button", { type: "button", textContent: label });
  button.addEventListener("click", () => save(path, file.name).catch(explain));
  return element("li", {}, button);
}

// A link cannot carry the token, so the file is fetched with it and handed to the browser.
async function save(path, name) {
  const address = URL.createObjectURL((await call("GET", path, { as: "blob" })).content);
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

// Changes of a message wait for each other: each needs the tag that the one before it has left.
function change(open, method, path = "", body = undefined) {
  const next = async () => {
    const answer = await call(method, open.path + path, { body, headers: { "if-match": open.tag } });
    open.tag = answer.headers.get("etag") ?? open.tag;
  };
  open.change = open.change.then(next, next);
  return open.change;
}

async function mark(open, seen) {
  await change(open, "PATCH", "", { seen });
  const button = rowOf(open);
  if (!button) return;
  button.parentElement.className = seen ? "" : "new";
  for (const hint of button.querySelectorAll(".unseen")) hint.remove();
}

function closeMessage() {
  overtake("message");
  state.open = null;
  at("read-view").hidden = true;
  document.querySelector(".columns").classList.remove("reading");
}

// After a change of a message: it is closed, unless somebody reads another one by now.
async function finish(open, said) {
  if (state.open === open) closeMessage();
  await list();
  say("notice", said);
  at("folder-title").focus();
}

on("close", "click", async () => {
  const button = rowOf(state.open);
  closeMessage();
  if (button) button.removeAttribute("aria-current");
  (button || at("folder-title")).focus();
});

on("unread", "click", async () => {
  const { open } = state;
  await mark(open, false);
  await finish(open, "Marked as unread.");
});

on("move", "submit", async () => {
  const [{ open }, to] = [state, at("target").value];
  await change(open, "POST", "/move", { to });
  await finish(open, `Moved to ${to}.`);
});

on("delete", "click", async () => {
  const { open } = state;
  await change(open, "DELETE");
  await finish(open, "Deleted.");
});

// --- Writing

on("write", "click", () => {
  at("send").reset();
  at("send-alert").hidden = true;
  at("compose").showModal();
  at("send-to").focus();
});

on("discard", "click", () => at("compose").close());

on("send", "submit", async () => {
  const within = at("send-expires").value;
  const body = { to: at("send-to").value.trim(), subject: at("send-subject").value, text: at("send-text").value };
  if (within) body.expires_in_secs = Number(within);
  try {
    await call("POST", `/t/${encodeURIComponent(state.tenant)}/send`, { body });
  } catch (error) {
    if (error.status === 401) {
      at("compose").close();
      throw error;
    }
    at("send-alert").textContent = error.message.charAt(0).toUpperCase() + error.message.slice(1);
    at("send-alert").hidden = false;
    return;
  }
  at("compose").close();
  await list();
  say("notice", "Sent.");
});

if (token.get()) enter().catch(explain);
