// What a person does with the page, step by step, and what the page may never do. Each step says what it promises.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const [playwright, chromium, playground, screenshots] = process.argv.slice(2);
const { chromium: driver } = await import(playwright);

const service = spawn(playground, ["service", "--port", "0", "--json"], { stdio: ["ignore", "pipe", "inherit"] });
const ended = new Promise((done) => service.on("exit", done));
process.on("exit", () => service.kill("SIGTERM"));
const profile = mkdtempSync(join(tmpdir(), "browser-"));
let context;
let steps = 0;

async function step(promise, work) {
  let timer;
  const tooLong = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within two minutes: ${promise}`)), 120_000);
  });
  await Promise.race([work(), tooLong]).finally(() => clearTimeout(timer));
  steps += 1;
  console.log(`ok ${steps} - ${promise}`);
}

try {
  const lines = createInterface({ input: service.stdout });
  const told = JSON.parse((await lines[Symbol.asyncIterator]().next()).value);
  const user = (tenant) => told.users.find((one) => one.tenant === tenant);
  context = await driver.launchPersistentContext(profile, {
    executablePath: chromium,
    headless: true,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
    viewport: { width: 1280, height: 800 },
    locale: "en-GB",
    timezoneId: "UTC",
    acceptDownloads: true,
  });
  const page = context.pages()[0] ?? await context.newPage();
  const complaints = [];
  const addresses = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  const changes = [];
  page.on("request", (request) => addresses.push(request.url()));
  page.on("request", (request) => request.method() !== "GET" && changes.push(`${request.method()} ${request.url()}`));
  const shot = (name) => page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });
  const rows = page.locator("#messages li");
  const alert = page.locator("#alert");
  const notice = page.locator("#notice");
  const signIn = async ({ name, password }) => {
    await page.getByLabel("Name").fill(name);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Sign in" }).click();
  };
  // Keeps the answer to the next request of such an address back: `taken` when there is one, until `show` is called.
  const hold = async (address) => {
    let release, shown, take, isTaken = false;
    const held = new Promise((resolve) => { release = resolve; });
    const taken = new Promise((resolve) => { take = resolve; });
    const isShown = new Promise((resolve, reject) => { shown = [resolve, reject]; });
    const handler = async (route) => {
      if (isTaken) return route.fallback();
      isTaken = true;
      take();
      const answered = route.fetch().then(async (response) => {
        await held;
        await route.fulfill({ response });
      });
      return answered.then(...shown);
    };
    // Whoever asks for it hears of a failure; a step that has failed before that has said enough.
    isShown.catch(() => {});
    await page.route(address, handler);
    const show = async () => {
      release();
      await isShown;
      await page.unroute(address, handler);
      // The page has had its turn.
      await page.evaluate(() => new Promise((resolve) => { setTimeout(resolve, 100); }));
    };
    return { taken, show };
  };
  const about = (subject) => page.locator("#messages .about").getByText(subject);
  // What the list shows is what was asked for last.
  const settled = () => page.locator("#list-view[aria-busy=false]").waitFor();
  const folder = async (name) => {
    await page.getByRole("navigation").getByRole("button", { name, exact: true }).click();
    await settled();
  };

  await step("the page opens with a form to sign in", async () => {
    await page.goto(told.address);
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    await shot("1-sign-in");
  });

  await step("a wrong password is refused, in words", async () => {
    await signIn({ name: user("contoso").name, password: "wrong" });
    await alert.getByText("The name or the password is wrong").waitFor();
    await shot("2-wrong-password");
  });

  await step("whoever signs in sees the mail of their own tenant, decoded", async () => {
    await signIn(user("contoso"));
    await page.getByText("anna, contoso").waitFor();
    await rows.first().waitFor();
    assert.equal(await rows.count(), 5);
    for (const subject of ["Welcome to contoso", "Grüße aus Köln", "Собрание", "会議"]) {
      await about(subject).waitFor();
    }
    assert.equal(await alert.isVisible(), false);
    await shot("3-inbox");
  });

  await step("a message is read, and is then marked as read", async () => {
    await about("Grüße aus Köln").click();
    await page.locator("#text").getByText("Schöne Grüße").waitFor();
    await page.locator("#messages li:not(.new) .about").getByText("Grüße aus Köln").waitFor();
    assert.equal(await page.locator("#from").textContent(), "Jörg Müller <joerg@partner.example>");
    await shot("4-message");
  });

  await step("an attachment is saved under its name", async () => {
    await about("The figures").click();
    const saved = page.waitForEvent("download");
    await page.locator("#attachments").getByRole("button", { name: /Zahlen für November/ }).click();
    assert.equal((await saved).suggestedFilename(), "Zahlen für November.csv");
  });

  await step("a message is written and sent; markup in it is text", async () => {
    await page.getByRole("button", { name: "Write" }).click();
    await page.getByLabel("To", { exact: true }).fill("bert@contoso.example");
    await page.getByLabel("Subject").fill("<img src=x onerror=alert(1)>");
    await page.getByLabel("Text").fill("A needle in the haystack.\n<script>alert(2)</script>");
    await shot("5-write");
    await page.getByRole("button", { name: "Send" }).click();
    await notice.getByText("Sent.").waitFor();
    await about("<img src=x onerror=alert(1)>").click();
    await page.locator("#text").getByText("<script>alert(2)</script>").waitFor();
    assert.equal(await page.locator("article img, article script").count(), 0);
  });

  await step("what cannot be sent says why, and is still there to be mended", async () => {
    await page.getByRole("button", { name: "Write" }).click();
    await page.getByLabel("To", { exact: true }).fill("a@b;c");
    await page.getByLabel("To", { exact: true }).evaluate((input) => { input.type = "text"; });
    await page.getByRole("button", { name: "Send" }).click();
    await page.locator("#send-alert").getByText("A message has a recipient").waitFor();
    await page.getByLabel("To", { exact: true }).evaluate((input) => { input.type = "email"; });
    await page.getByRole("button", { name: "Discard" }).click();
  });

  await step("a search finds it in its folder, and not in others", async () => {
    await page.getByLabel("Search this folder").fill("NEEDLE");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "inbox: “NEEDLE”" }).waitFor();
    assert.equal(await rows.count(), 1);
    await shot("6-search");
    await folder("archive");
    await page.getByText("Nothing here.").waitFor();
    await page.getByLabel("Search this folder").fill("needle");
    await page.keyboard.press("Enter");
    await page.getByText("Nothing found.").waitFor();
  });

  await step("a folder is made, and a message moved into it", async () => {
    await page.getByLabel("New folder").fill("Projekt Ä");
    await page.getByRole("button", { name: "Make" }).click();
    await notice.getByText("There is a folder “Projekt Ä” now.").waitFor();
    await folder("inbox");
    await about("Собрание").click();
    await page.getByLabel("Move to").selectOption("Projekt Ä");
    await page.getByRole("button", { name: "Move" }).click();
    await notice.getByText("Moved to Projekt Ä.").waitFor();
    assert.equal(await about("Собрание").count(), 0);
    await folder("Projekt Ä");
    await about("Собрание").waitFor();
    await shot("7-moved");
  });

  await step("a message that ends is gone when its time has come", async () => {
    await page.getByRole("button", { name: "Write" }).click();
    await page.getByLabel("To", { exact: true }).fill("bert@contoso.example");
    await page.getByLabel("Subject").fill("Soon gone");
    await page.getByLabel("Gone after").selectOption("10 seconds");
    await page.getByRole("button", { name: "Send" }).click();
    await notice.getByText("Sent.").waitFor();
    await folder("inbox");
    await about("Soon gone").click();
    await page.locator("dd.expiry").waitFor();
    await shot("8-expiry");
    await page.waitForTimeout(10_500);
    await about("Soon gone").click();
    await alert.getByText("There is no such message").waitFor();
    await settled();
    await about("Welcome to contoso").waitFor();
    assert.equal(await about("Soon gone").count(), 0);
  });

  await step("an answer that comes too late is not shown", async () => {
    const late = await hold(/messages\/[0-9a-f]+$/);
    await about("会議").click();
    await late.taken;
    await about("Welcome to contoso").click();
    await page.locator("#text").getByText("nobody else").waitFor();
    await late.show();
    assert.equal(await page.locator("#subject").textContent(), "Welcome to contoso");
    const lateList = await hold(/inbox\/messages\?/);
    await page.getByRole("navigation").getByRole("button", { name: "inbox", exact: true }).click();
    await lateList.taken;
    await folder("archive");
    await lateList.show();
    assert.equal(await rows.count(), 0, "of the inbox, in the archive");
    await folder("inbox");
  });

  await step("the other tenant's mail is refused, visibly, and one's own stays", async () => {
    await page.getByLabel("Mailbox of").fill("fabrikam");
    await page.getByRole("button", { name: "Open" }).click();
    await alert.getByText("You may not open the mailbox of “fabrikam”").waitFor();
    await shot("9-refused");
    const refused = await alert.textContent();
    await page.getByLabel("Mailbox of").fill("nobody");
    await page.getByRole("button", { name: "Open" }).click();
    await alert.getByText("“nobody”").waitFor();
    assert.equal((await alert.textContent()).replace("nobody", "fabrikam"), refused, "unknown looks like forbidden");
    assert.ok(await rows.count() >= 4);
  });

  await step("the keyboard is enough", async () => {
    await page.getByRole("button", { name: "inbox", exact: true }).focus();
    await page.keyboard.press("Enter");
    await settled();
    await page.getByRole("button", { name: "inbox", exact: true }).and(page.locator("[aria-current]")).waitFor();
    await rows.first().getByRole("button").focus();
    await page.keyboard.press("Enter");
    await page.locator("#subject:focus").waitFor();
    await page.getByRole("button", { name: "Close" }).focus();
    await page.keyboard.press("Enter");
    await page.locator("#messages button:focus").waitFor();
    await page.getByRole("button", { name: "Write" }).focus();
    await page.keyboard.press("Enter");
    await page.locator("#send-to:focus").waitFor();
    await page.keyboard.press("Escape");
    assert.equal(await page.locator("#compose").isVisible(), false);
  });

  await step("every field has a label and every button a name", async () => {
    const nameless = await page.evaluate(() => {
      const fields = [...document.querySelectorAll("input, select, textarea")].filter((field) => !field.labels.length);
      const buttons = [...document.querySelectorAll("button")].filter((button) => !button.textContent.trim());
      return [...fields, ...buttons].map((element) => element.outerHTML);
    });
    assert.deepEqual(nameless, []);
  });

  await step("it is for dark rooms and narrow screens too", async () => {
    await page.emulateMedia({ colorScheme: "dark" });
    await about("Welcome to contoso").click();
    await page.locator("#text").getByText("nobody else").waitFor();
    await shot("10-dark");
    await page.setViewportSize({ width: 390, height: 800 });
    await shot("11-narrow-dark");
    await page.emulateMedia({ colorScheme: "light" });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(overflow <= 0, `wider than the screen by ${overflow} px`);
    await page.setViewportSize({ width: 1280, height: 800 });
  });

  const downloads = [];
  await step("after signing out nothing of the mail is left in the page", async () => {
    const late = [await hold(/messages\?/), await hold(/folders$/), await hold(/attachments/)];
    await about("The figures").click();
    await page.locator("#attachments").getByRole("button", { name: /Zahlen für November/ }).click();
    await page.getByLabel("New folder").fill("Too late");
    await page.getByRole("button", { name: "Make" }).click();
    await page.getByRole("navigation").getByRole("button", { name: "inbox", exact: true }).click();
    for (const one of late) await one.taken;
    await page.getByRole("button", { name: "Sign out" }).click();
    await notice.getByText("Signed out.").waitFor();
    page.on("download", (download) => downloads.push(download.suggestedFilename()));
    for (const one of late) await one.show();
    assert.equal(await notice.textContent(), "Signed out.");
    assert.deepEqual(downloads, []);
    const left = await page.evaluate(() => document.documentElement.outerHTML + JSON.stringify({ ...sessionStorage, ...localStorage }));
    for (const word of ["nobody else", "Köln", "anna", "Too late", "archive", "eyJ"]) assert.ok(!left.includes(word), `${word}: ${left.slice(left.indexOf(word) - 200, left.indexOf(word) + 50)}`);
    await page.reload();
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
  });

  await step("the other tenant's people see their own mail, and none of the first", async () => {
    await signIn(user("fabrikam"));
    await about("Welcome to fabrikam").waitFor();
    assert.equal(await page.getByText("contoso").count(), 0);
    await page.reload();
    await about("Welcome to fabrikam").waitFor();
    await shot("12-fabrikam");
  });

  await step("who may only read is shown nothing that changes anything", async () => {
    await page.route("**/me", async (route) => {
      const answer = await route.fetch();
      await route.fulfill({ response: answer, json: { ...await answer.json(), may_write: false } });
    }, { times: 1 });
    await page.reload();
    await settled();
    changes.length = 0;
    await about("会議").click();
    await page.locator("#text").getByText("会").first().waitFor();
    await settled();
    for (const name of ["Write", "Make", "Move", "Delete", "Mark as unread"]) {
      assert.equal(await page.getByRole("button", { name, exact: true }).count(), 0, name);
    }
    assert.deepEqual(changes, [], "nor marks anything");
    await shot("13-reader");
    await page.reload();
    await settled();
    assert.equal(await page.getByRole("button", { name: "Write" }).count(), 1, "the control");
  });

  await step("a token that has ended leads back to signing in", async () => {
    await page.evaluate(() => sessionStorage.setItem("token", "ended"));
    await page.getByRole("button", { name: "archive", exact: true }).click();
    await alert.getByText("Your session has ended. Sign in again.").waitFor();
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    assert.equal(await page.getByText("fabrikam").count(), 0);
    await shot("14-ended");
  });

  await step("no script of others ran, no token was in an address, nobody else was asked", async () => {
    const refusals = /status of (401|403|404|412|400)/;
    assert.deepEqual(complaints.filter((complaint) => !refusals.test(complaint)), []);
    const elsewhere = addresses.filter((address) => !address.startsWith(told.address) && !address.startsWith("blob:"));
    assert.deepEqual(elsewhere, []);
    assert.deepEqual(addresses.filter((address) => address.includes("eyJ")), []);
    const blocked = await page.evaluate(async () => {
      const script = document.createElement("script");
      script.textContent = "window.ran = true";
      document.body.append(script);
      return window.ran !== true;
    });
    assert.ok(blocked, "the control: the policy stops a script in the page");
  });
  console.log(`\n${steps} passed, 0 failed`);
} catch (error) {
  console.error(error);
  console.log(`\n${steps} passed, 1 failed`);
  process.exitCode = 1;
  const page = context?.pages()[0];
  if (page) await page.screenshot({ path: join(screenshots, "failed.png"), fullPage: true }).catch(() => {});
} finally {
  await context?.close();
  service.kill("SIGTERM");
  await ended;
  rmSync(profile, { recursive: true, force: true });
}
