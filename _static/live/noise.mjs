// The noise of a seed: the same numbers as torch.randn draws on a processor, so that a seed means one clip everywhere.

const SIZE = 624, MIDDLE = 397; // of the Mersenne Twister's state

// Matsumoto & Nishimura 1998: a stream of whole numbers from 0 to 2^32 - 1.
export function mersenneTwister(seed) {
  const state = new Uint32Array(SIZE);
  state[0] = seed;
  for (let i = 1; i < SIZE; i++) {
    const before = state[i - 1] ^ (state[i - 1] >>> 30);
    state[i] = Math.imul(1812433253, before) + i;
  }
  let place = SIZE;
  function renew() {
    for (let i = 0; i < SIZE; i++) {
      const bits = (state[i] & 0x80000000) | (state[(i + 1) % SIZE] & 0x7fffffff);
      state[i] = state[(i + MIDDLE) % SIZE] ^ (bits >>> 1) ^ (bits & 1 ? 0x9908b0df : 0);
    }
    place = 0;
  }
  return () => {
    if (place === SIZE) renew();
    let x = state[place++];
    x ^= x >>> 11;
    x ^= (x << 7) & 0x9d2c5680;
    x ^= (x << 15) & 0xefc60000;
    return (x ^ (x >>> 18)) >>> 0;
  };
}

// Box & Muller 1958, eight pairs at a time: the first eight of sixteen uniform numbers are radii, the others angles.
// `count` must be a multiple of 16. The twister's seed is made of the clip's as `LFDM.generate` makes it.
export function standardNormal(seed, count) {
  return normalNumbers(mersenneTwister(Number(BigInt.asUintN(32, BigInt(seed) * 1000003n))), count);
}

// The next `count` numbers, standard normal, of a stream of whole ones.
export function normalNumbers(draw, count) {
  if (count % 16) throw new RangeError(`${count} numbers of noise: expected a multiple of 16`);
  const x = new Float32Array(count);
  for (let i = 0; i < count; i++) x[i] = (draw() & 0xffffff) / 0x1000000; // in [0, 1), of 24 bits
  for (let i = 0; i < count; i += 16) {
    for (let j = i; j < i + 8; j++) {
      const radius = Math.sqrt(-2 * Math.log(1 - x[j])), angle = 2 * Math.PI * x[j + 8];
      x[j] = radius * Math.cos(angle);
      x[j + 8] = radius * Math.sin(angle);
    }
  }
  return x;
}
