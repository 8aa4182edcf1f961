// Primes by a sieve, timers on virtual time, and a tool of the host.
const limit = 50;
const composite = new Uint8Array(limit + 1);
const primes = [];
for (let n = 2; n <= limit; n++) {
  if (composite[n]) continue;
  primes.push(n);
  for (let m = n * n; m <= limit; m += n) composite[m] = 1;
}
console.log(primes);

const started = Date.now();
await new Promise((resolve) => setTimeout(resolve, 60_000));
console.log(`slept ${(Date.now() - started) / 1000} s of virtual time`);

const words = await tools.word_count({ text: "every effect passes one gate" });
console.log(`the host counted ${words} words`);
