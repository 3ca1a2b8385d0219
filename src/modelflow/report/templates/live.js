// Networks run in the page, and pictures brought to the form of the data. Pure functions: no page, no state.
const live = (() => {
  "use strict";

  // --- what the page holds as text
  const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const halvesOf = (text) => {
    // float16, two bytes each, the lower one first; never infinite (Float16Array is too new)
    const view = new DataView(bytesOf(text).buffer);
    return Float32Array.from({ length: view.byteLength / 2 }, (_, i) => {
      const half = view.getUint16(2 * i, true);
      const exponent = (half >> 10) & 31;
      const fraction = (half & 1023) / 1024;
      const size = exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction;
      return half >> 15 ? -size : size;
    });
  };

  // --- operations: each is prepared once, and then computes `out` of its inputs with the weights of a run
  const erf = (x) => {
    // Abramowitz and Stegun (1964), 7.1.26, within 1.5e-7
    const t = 1 / (1 + 0.3275911 * Math.abs(x));
    const sum = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return Math.sign(x) * (1 - sum * Math.exp(-x * x));
  };
  const ACTIVATIONS = {
    relu: (x) => (x < 0 ? 0 : x),
    relu6: (x) => (x < 0 ? 0 : x > 6 ? 6 : x),
    leaky_relu: (x) => (x < 0 ? 0.01 * x : x),
    hard_swish: (x) => (x <= -3 ? 0 : x >= 3 ? x : (x * (x + 3)) / 6),
    silu: (x) => x / (1 + Math.exp(-x)),
    gelu: (x) => (x / 2) * (1 + erf(x * Math.SQRT1_2)),
    tanh: Math.tanh,
    sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  };
  const cut = (out, { low, high }) => {
    if (low !== null) for (let i = 0; i < out.length; i++) if (out[i] < low) out[i] = low;
    if (high !== null) for (let i = 0; i < out.length; i++) if (out[i] > high) out[i] = high;
  };
  const windowOf = ([channels, height, width, features, high, wide, rows, columns, down, right, above, left, groups]) => ({
    ...{ channels, height, width, features, high, wide, rows, columns, down, right, above, left, groups },
    tall: Math.max((high - 1) * down + rows, height + above), // of the input with its padding
    broad: Math.max((wide - 1) * right + columns, width + left),
  });
  const paddedBy = (w) => {
    // a function that gives the input with the zeros around it; the input itself where there are none
    if (w.tall === w.height && w.broad === w.width) return (x) => x;
    const room = new Float32Array(w.channels * w.tall * w.broad);
    return (x) => {
      for (let c = 0; c < w.channels; c++) {
        for (let y = 0; y < w.height; y++) {
          const from = (c * w.height + y) * w.width;
          room.set(x.subarray(from, from + w.width), (c * w.tall + y + w.above) * w.broad + w.left);
        }
      }
      return room;
    };
  };
  const convolve = (operation, out) => {
    const w = windowOf(operation.window);
    const padded = paddedBy(w);
    const depth = w.channels / w.groups;
    const features = w.features / w.groups;
    const area = w.high * w.wide;
    return ([input], weights, bias) => {
      const x = padded(input);
      let tap = 0;
      for (let o = 0; o < w.features; o++) {
        const first = Math.floor(o / features) * depth;
        out.fill(bias[o], o * area, (o + 1) * area);
        for (let i = first; i < first + depth; i++) {
          for (let row = 0; row < w.rows; row++, tap += w.columns) {
            addRow(out, o * area, x, (i * w.tall + row) * w.broad, weights, tap, w);
          }
        }
      }
      cut(out, operation);
    };
  };
  const addRow = (out, to, x, from, weights, tap, { high, wide, columns, down, right, broad }) => {
    // a row of weights times all that lies under it; three at a time, since most windows are three wide
    let column = 0;
    for (; column + 3 <= columns; column += 3, tap += 3, from += 3) {
      const [a, b, c] = [weights[tap], weights[tap + 1], weights[tap + 2]];
      for (let y = 0, at = to, under = from; y < high; y++, under += down * broad) {
        for (let k = under; at < to + (y + 1) * wide; at++, k += right) out[at] += a * x[k] + b * x[k + 1] + c * x[k + 2];
      }
    }
    for (; column < columns; column++, tap++, from++) {
      const weight = weights[tap];
      for (let y = 0, at = to, under = from; y < high; y++, under += down * broad) {
        for (let k = under; at < to + (y + 1) * wide; at++, k += right) out[at] += weight * x[k];
      }
    }
  };
  const dense = (operation, out) => ([x], weights, bias) => {
    const inputs = weights.length / out.length;
    for (let o = 0; o < out.length; o++) {
      let sum = bias[o];
      for (let i = 0; i < inputs; i++) sum += weights[o * inputs + i] * x[i];
      out[o] = sum;
    }
    cut(out, operation);
  };
  const pool = (operation, out) => {
    const w = windowOf(operation.window);
    const largest = operation.how === "max";
    return ([x]) => {
      let at = 0;
      for (let c = 0; c < w.features; c++) {
        for (let y = 0; y < w.high; y++) {
          for (let column = 0; column < w.wide; column++) {
            const top = y * w.down - w.above;
            const side = column * w.right - w.left;
            let most = -Infinity;
            let sum = 0;
            for (let j = Math.max(0, top); j < Math.min(w.height, top + w.rows); j++) {
              for (let i = Math.max(0, side); i < Math.min(w.width, side + w.columns); i++) {
                const value = x[(c * w.height + j) * w.width + i];
                sum += value;
                if (value > most) most = value;
              }
            }
            out[at++] = largest ? most : sum / (w.rows * w.columns);
          }
        }
      }
    };
  };
  const activate = ({ how }, out) => ([x]) => {
    for (let i = 0; i < out.length; i++) out[i] = ACTIVATIONS[how](x[i]);
  };
  const add = (operation, out) => ([a, b]) => {
    for (let i = 0; i < out.length; i++) out[i] = a[i] + b[i];
    cut(out, operation);
  };
  const weigh = (_, out) => ([x, factors]) => {
    const area = out.length / factors.length;
    for (let i = 0; i < out.length; i++) out[i] = x[i] * factors[Math.floor(i / area)];
  };
  const KINDS = { convolve, dense, pool, activate, add, weigh };

  // a program as a function of a normalised image and a run's weights, which gives the outputs of all operations;
  // the arrays are those of the next call too
  const network = (operations) => {
    const steps = operations.map((operation) => {
      const out = new Float32Array(operation.shape.reduce((a, b) => a * b, 1));
      return { ...operation, out, run: KINDS[operation.kind](operation, out) };
    });
    return (image, weights) => {
      let at = 0;
      const take = (count) => weights.subarray(at, (at += count));
      const values = [image];
      for (const { inputs, out, run, taken } of steps) {
        run(inputs.map((i) => values[i]), take(taken[0]), take(taken[1]));
        values.push(out);
      }
      return values.slice(1);
    };
  };
  const softmax = (logits) => {
    const most = Math.max(...logits);
    const shares = Array.from(logits, (value) => Math.exp(value - most));
    const sum = shares.reduce((a, b) => a + b);
    return shares.map((share) => share / sum);
  };
  const normalised = (shares, mean, std) => {
    const area = shares.length / mean.length;
    return Float32Array.from(shares, (share, i) => (share - mean[Math.floor(i / area)]) / std[Math.floor(i / area)]);
  };

  // --- what the seeds of a model say: probabilities, their mean, the class of the majority, as in the rest of the page
  const votes = (shares) => {
    const mean = shares[0].map((_, k) => shares.reduce((sum, one) => sum + one[k], 0) / shares.length);
    const classes = shares.map((one) => one.indexOf(Math.max(...one)));
    const scores = mean.map((share, k) => classes.filter((n) => n === k).length + share / 2);
    const predicted = scores.indexOf(Math.max(...scores));
    return { shares, mean, classes, predicted, agree: classes.filter((n) => n === predicted).length };
  };

  // --- pictures are { width, height, planes }, each plane an array of shares of white, row by row
  // made larger or smaller by the bicubic filter of the training pictures (Pillow's; Keys, 1981)
  const cubic = (x) => {
    const t = Math.abs(x);
    if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
    return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
  };
  const filterOf = (given, wanted) => {
    const scale = given / wanted;
    const wide = Math.max(1, scale);
    return Array.from({ length: wanted }, (_, i) => {
      const centre = (i + 0.5) * scale;
      const first = Math.max(0, Math.floor(centre - 2 * wide + 0.5));
      const last = Math.min(given, Math.floor(centre + 2 * wide + 0.5));
      const taps = Array.from({ length: last - first }, (_, j) => cubic((first + j + 0.5 - centre) / wide));
      const sum = taps.reduce((a, b) => a + b);
      return { first, taps: taps.map((tap) => tap / sum) };
    });
  };
  const within = (share) => Math.min(1, Math.max(0, share));
  const resized = (picture, width, height) => {
    const across = filterOf(picture.width, width);
    const along = filterOf(picture.height, height);
    const planes = picture.planes.map((plane) => {
      const narrow = new Float64Array(picture.height * width);
      for (let y = 0; y < picture.height; y++) {
        across.forEach(({ first, taps }, x) => {
          let sum = 0;
          for (let j = 0; j < taps.length; j++) sum += taps[j] * plane[y * picture.width + first + j];
          narrow[y * width + x] = within(sum);
        });
      }
      const made = new Float64Array(height * width);
      along.forEach(({ first, taps }, y) => {
        for (let x = 0; x < width; x++) {
          let sum = 0;
          for (let j = 0; j < taps.length; j++) sum += taps[j] * narrow[(first + j) * width + x];
          made[y * width + x] = within(sum);
        }
      });
      return made;
    });
    return { width, height, planes };
  };
  const placed = (picture, width, height, left, top) => {
    const planes = picture.planes.map((plane) => {
      const made = new Float64Array(width * height);
      for (let y = Math.max(0, top); y < Math.min(height, top + picture.height); y++) {
        for (let x = Math.max(0, left); x < Math.min(width, left + picture.width); x++) {
          made[y * width + x] = plane[(y - top) * picture.width + x - left];
        }
      }
      return made;
    });
    return { width, height, planes };
  };
  const half = (number) => Math.floor(number / 2);
  const fittedSize = (picture, width, height) => {
    // the largest size of its aspect that fits, at least a pixel a side
    if (picture.height * width >= picture.width * height) {
      return [Math.max(1, Math.round((picture.width * height) / picture.height)), height];
    }
    return [width, Math.max(1, Math.round((picture.height * width) / picture.width))];
  };
  // as pictures of a folder are read: as large as fits, the rest black
  const fitted = (picture, width, height) => {
    const [wide, high] = fittedSize(picture, width, height);
    const made = wide === picture.width && high === picture.height ? picture : resized(picture, wide, high);
    return placed(made, width, height, half(width - wide), half(height - high));
  };
  const THING = 0.1; // the share of white from which a pixel is of the thing, not of the ground
  const boxOf = ({ width, height, planes: [plane] }) => {
    let [left, top, right, bottom] = [width, height, 0, 0];
    plane.forEach((share, i) => {
      if (share <= THING) return;
      const [x, y] = [i % width, Math.floor(i / width)];
      left = Math.min(left, x);
      right = Math.max(right, x + 1);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y + 1);
    });
    return right > left ? { left, top, width: right - left, height: bottom - top } : null;
  };
  const massOf = ({ width, planes: [plane] }) => {
    let [sum, x, y] = [1e-12, 0, 0];
    plane.forEach((share, i) => {
      sum += share;
      x += share * ((i % width) + 0.5);
      y += share * (Math.floor(i / width) + 0.5);
    });
    return [x / sum, y / sum];
  };
  // as MNIST and Fashion-MNIST were made: the thing, bright on black, as long as `box` pixels, and its middle or its
  // centre of mass in the middle
  const framed = (picture, width, height, { box, by_mass: byMass }) => {
    const found = boxOf(picture);
    if (!found) return placed(picture, width, height, width, height);
    const thing = placed(picture, found.width, found.height, -found.left, -found.top);
    const made = resized(thing, ...fittedSize(thing, box, box));
    const [x, y] = byMass ? massOf(made) : [made.width / 2, made.height / 2];
    return placed(made, width, height, Math.round(width / 2 - x), Math.round(height / 2 - y));
  };
  const grey = ({ width, height, planes: [red, green, blue] }) => ({
    ...{ width, height },
    planes: [red.map((share, i) => 0.299 * share + 0.587 * green[i] + 0.114 * blue[i])],
  });
  // a thing on any even ground as bright on black: less the ground that is at the border, stretched to white; and
  // whether that turned dark to bright, and changed the contrast to be seen
  const PLAIN = 0.98; // of white, from which on a thing needs no stretching
  const brightOnBlack = ({ width, height, planes: [plane] }) => {
    const border = plane.filter((_, i) => i < width || i >= plane.length - width || i % width === 0 || (i + 1) % width === 0);
    const ground = border.sort()[half(border.length)];
    const apart = plane.map((share) => Math.max(0, ground > 0.5 ? ground - share : share - ground));
    const most = apart.reduce((a, b) => Math.max(a, b), 0.05);
    const shades = { isInverted: ground > 0.5, isStretched: most < PLAIN };
    return { width, height, planes: [apart.map((share) => share / most)], ...shades };
  };

  // --- a stroke of a round brush, from one point to another, into the planes of a picture, and whether it changed them;
  // ink is a share a plane
  const stroke = (picture, [x0, y0], [x1, y1], radius, ink) => {
    const { width, height, planes } = picture;
    const long = (x1 - x0) ** 2 + (y1 - y0) ** 2;
    const reach = radius + 1;
    let changed = false;
    for (let y = Math.max(0, Math.floor(Math.min(y0, y1) - reach)); y < Math.min(height, Math.max(y0, y1) + reach); y++) {
      for (let x = Math.max(0, Math.floor(Math.min(x0, x1) - reach)); x < Math.min(width, Math.max(x0, x1) + reach); x++) {
        const [dx, dy] = [x + 0.5 - x0, y + 0.5 - y0];
        const along = long ? within((dx * (x1 - x0) + dy * (y1 - y0)) / long) : 0;
        const apart = Math.hypot(dx - along * (x1 - x0), dy - along * (y1 - y0));
        const covered = within(radius + 0.5 - apart);
        planes.forEach((plane, c) => {
          const step = covered * (ink[c] - plane[y * width + x]);
          plane[y * width + x] += step;
          changed ||= step !== 0;
        });
      }
    }
    return changed;
  };

  // multiply-accumulates of an image
  const macs = (operations) =>
    operations.reduce((sum, { taken, shape }) => sum + taken[0] * shape.slice(1).reduce((a, b) => a * b, 1), 0);

  // --- occlusion (Zeiler and Fergus, 2014): a square of ground is moved over the image; places and what is covered.
  // Squares overlap by half, or as much as `most` places allow, or lie side by side: then they are coarse.
  const squares = (width, height, most) => {
    const size = Math.max(1, Math.round(Math.min(width, height) / 4));
    const along = (side, step) => Array.from({ length: Math.ceil((side - size) / step) + 1 }, (_, i) => Math.min(i * step, side - size));
    const places = (step) => along(width, step).length * along(height, step).length;
    const least = Math.max(1, half(size / 2 + 0.5));
    let step = least;
    while (step < size && places(step) > most) step += 1;
    return { size, across: along(width, step), down: along(height, step), isCoarse: step > least };
  };
  const covered = (shares, width, height, left, top, size, ground) => {
    const made = shares.slice();
    const area = width * height;
    for (let c = 0; c * area < made.length; c++) {
      for (let y = top; y < top + size; y++) {
        made.fill(ground[c], c * area + y * width + left, c * area + y * width + left + size);
      }
    }
    return made;
  };

  return {
    ...{ bytesOf, halvesOf, network, softmax, normalised, votes, resized, fitted, framed, grey, brightOnBlack },
    ...{ stroke, macs, squares, covered },
  };
})();
