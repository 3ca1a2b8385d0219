// The compiled step in a page: its memory, and calls with arrays in place of addresses. Needs nothing of the page.
const step = (() => {
  "use strict";
  const PAGE = 65536; // bytes of WebAssembly's memory
  const LINE = 64; // bytes that arrays begin at multiples of
  const FLOAT = 4;
  const LONG = 8; // bytes of an index, a label, a loss
  const [BETA1, BETA2, EPS] = [0.9, 0.999, 1e-8]; // Adam's
  const AVERAGES = 2;
  const SCALARS = 7; // of a step: see kernels/rules/adam.py

  const scalars = (rate, t) => [rate / (1 - BETA1 ** t), 1 / Math.sqrt(1 - BETA2 ** t), 1, 1 - BETA1, BETA2, 1 - BETA2, EPS];

  // memory handed out one array after the other
  const space = () => {
    let used = LINE;
    return {
      take: (bytes) => {
        const at = used;
        used += Math.ceil(bytes / LINE) * LINE;
        return at;
      },
      memoryOf: () => new WebAssembly.Memory({ initial: Math.ceil(used / PAGE) }),
    };
  };

  // `network`: module (bytes) and sizes, as page.py gives them; `images`: floats, one image after the other; at most
  // `steps` batches of `batch` images are trained on in one call. A promise of `begin`, `train`, `logits`, `parameters`.
  const prepared = async (network, images, labels, batch, steps) => {
    const { take, memoryOf } = space();
    const blocks = Math.ceil(batch / network.lanes);
    const at = {
      flat: take(network.parameters * FLOAT),
      packed: take((1 + AVERAGES) * network.packed * FLOAT),
      work: take((network.shared + blocks * network.block) * network.lanes * FLOAT),
      images: take(images.length * FLOAT),
      labels: take(labels.length * LONG),
      order: take(batch * steps * LONG),
      scalars: take(steps * SCALARS * FLOAT),
      losses: take(steps * LONG),
      logits: take(labels.length * network.classes * FLOAT),
    };
    const memory = memoryOf();
    const floats = (place, count) => new Float32Array(memory.buffer, place, count);
    const longs = (place, count) => new BigInt64Array(memory.buffer, place, count);
    const { instance } = await WebAssembly.instantiate(network.module, { env: { __linear_memory: memory } });
    const { train, logits, pack, unpack } = instance.exports;
    floats(at.images, images.length).set(images);
    longs(at.labels, labels.length).set(Array.from(labels, BigInt));
    let stepsMade = 0;
    return {
      // from these weights, as if nothing had been trained
      begin: (weights) => {
        floats(at.packed, (1 + AVERAGES) * network.packed).fill(0);
        floats(at.flat, network.parameters).set(weights);
        pack(at.flat, at.packed);
        stepsMade = 0;
      },
      // a step for each `size` images of `order`, the last perhaps smaller; losses up to one that is not finite, which
      // was not made. `start` steps of the epoch were made before this call: its dropout depends on them and on `seed`.
      train: (order, size, rate, seed, start) => {
        const number = Math.ceil(order.length / size);
        longs(at.order, order.length).set(Array.from(order, BigInt));
        for (let i = 0; i < number; i++) floats(at.scalars + i * SCALARS * FLOAT, SCALARS).set(scalars(rate, stepsMade + i + 1));
        const counts = [BigInt(order.length), BigInt(size)];
        const dropout = [BigInt(seed), BigInt(start)];
        const plain = [0, 0]; // no targets that are weighted, no changed images
        const alone = [0n, 1n, 0]; // thread, threads, and a barrier that one thread does not need
        const done = Number(
          train(
            ...[at.images, at.labels, at.order, ...counts, at.packed, at.work, at.scalars],
            ...[...plain, ...dropout, at.losses, ...alone]
          )
        );
        stepsMade += done;
        return [...new Float64Array(memory.buffer, at.losses, Math.min(done + 1, number))];
      },
      // of `count` images from `first` on, without dropout
      logits: (first, count) => {
        const size = network.image * FLOAT;
        logits(at.images + first * size, BigInt(count), at.packed, at.work, BigInt(blocks), at.logits);
        return floats(at.logits, count * network.classes).slice();
      },
      // in the order of the module's parameters
      parameters: () => {
        unpack(at.flat, at.packed);
        return floats(at.flat, network.parameters).slice();
      },
    };
  };
  return { prepared };
})();
