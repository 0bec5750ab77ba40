// Times as the viewer's clock shows them; the exact value stays in the title.

const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const near = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

/** A moment in short: today the time, this year the day and the time, else the date. */
export function short(moment, now = new Date()) {
  const time = clock.format(moment);
  if (moment.toDateString() === now.toDateString()) return time;
  return moment.getFullYear() === now.getFullYear() ? `${near.format(moment)} ${time.slice(0, 5)}` : day.format(moment);
}

/** Shows all times below a node as the viewer's clock does. */
export function localise(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(element.dateTime);
    if (Number.isNaN(moment.valueOf())) continue;
    element.textContent = short(moment);
    element.title = `${day.format(moment)}, ${clock.format(moment)} here; ${element.dateTime}`;
  }
}
