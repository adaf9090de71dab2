// Looks at pages with Chromium, as a JSON document on standard input says, and writes what it
// has seen to standard output. Called by chromium_test.go.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const require = createRequire(new URL('../e2e/', import.meta.url));
const puppeteer = require('puppeteer-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const task = JSON.parse(readFileSync(0, 'utf8'));
const browser = await puppeteer.launch({
  executablePath: task.chromium,
  args: ['--no-sandbox', '--disable-dev-shm-usage', `--host-resolver-rules=MAP ${task.host} ${task.address}`],
});
const seen = [];
try {
  for (const step of task.steps) {
    seen.push(await look(step));
  }
} finally {
  await browser.close();
}
process.stdout.write(JSON.stringify(seen));

// look loads one page, does what the step says, and reports.
async function look(step) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  const report = { name: step.name, requests: [], problems: [], violations: [] };
  page.on('request', (request) => report.requests.push(request.url()));
  page.on('dialog', (dialog) => { report.problems.push(`a dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on('pageerror', (error) => report.problems.push(`a script has failed: ${error}`));
  page.on('console', (message) => report.problems.push(`the console says: ${message.text()}`));
  await page.setViewport({ width: step.width, height: 900, deviceScaleFactor: 1 });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: step.scheme }]);
  await page.setJavaScriptEnabled(!step.withoutScripts);
  if (step.user) {
    await page.authenticate({ username: step.user, password: step.password });
  }
  const began = performance.now();
  try {
    const answer = await page.goto(`http://${task.host}${step.path}`, { waitUntil: 'load' });
    report.status = answer.status();
  } catch (error) {
    if (!String(error).includes('ERR_INVALID_AUTH_CREDENTIALS')) throw error;
    report.status = 401; // the browser asks for a password, which nobody gives
  }
  for (const action of step.actions ?? []) {
    await act(page, action);
  }
  report.milliseconds = performance.now() - began;
  report.path = new URL(page.url()).pathname;
  report.text = await page.evaluate(() => document.body?.innerText ?? '');
  report.width = await page.evaluate(() => document.documentElement?.scrollWidth ?? 0);
  report.cookies = await page.evaluate(() => { try { return document.cookie; } catch { return ''; } });
  report.focus = await page.evaluate(() => (document.activeElement?.textContent ?? '').trim().slice(0, 80));
  if (!step.withoutScripts && report.text) {
    await page.evaluate(axe);
    const result = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
    report.violations = result.violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html.slice(0, 160)).join(' | ')}`);
  }
  if (step.screenshot) {
    const height = await page.evaluate(() => document.documentElement.scrollHeight);
    await page.setViewport({ width: step.width, height: Math.min(height, step.most ?? height), deviceScaleFactor: 1 });
    await page.screenshot({ path: step.screenshot });
  }
  await context.close();
  return report;
}

// act clicks, types or presses a key.
async function act(page, action) {
  if (action.press) {
    await page.keyboard.press(action.press);
  } else if (action.type) {
    await page.type(action.at, action.type);
  } else {
    await Promise.all([page.waitForNavigation({ waitUntil: 'load' }), page.click(action.at)]);
  }
}
