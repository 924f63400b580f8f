// Blocks of the page's data: typed columns and a document, compressed (see columns.py). Each is unpacked when it is first needed.
const STEPS = 60000;
const NO_SHARE = 65535;
const ARRAYS = { Uint8Array, Uint16Array, Uint32Array, Float32Array };

async function unzipped(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

class Block {
  constructor(buffer) {
    const size = new DataView(buffer).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
    this.document = header.document;
    this.columns = {};
    let start = 4 + size;
    for (const [name, [type, length]] of Object.entries(header.columns)) {
      const end = start + length * ARRAYS[type].BYTES_PER_ELEMENT;
      // A copy, because a typed array must begin at a multiple of its element.
      this.columns[name] = new ARRAYS[type](buffer.slice(start, end));
      start = end;
    }
  }

  // A number of a column; null where the column has none.
  at(name, place) {
    const column = this.columns[name];
    if (column === undefined) return null;
    const value = column[place];
    if (column instanceof Float32Array) return Number.isNaN(value) ? null : value;
    return value === 2 ** (8 * column.BYTES_PER_ELEMENT) - 1 ? null : value;
  }

  // A text of a column that holds places in a list of the document.
  text(name, place) {
    const found = this.at(name, place);
    return found === null ? null : this.document[name][found];
  }
}

class Blocks {
  constructor(text) {
    this.packed = new Map();
    for (const line of text.trim().split("\n")) {
      const [name, base64] = line.split(":");
      this.packed.set(name, base64);
    }
    this.opened = new Map();
  }

  has(name) {
    return this.packed.has(name);
  }

  // The block as a promise; of null if the page does not have it.
  get(name) {
    if (!this.has(name)) return Promise.resolve(null);
    if (!this.opened.has(name)) this.opened.set(name, unzipped(this.packed.get(name)).then((buffer) => new Block(buffer)));
    return this.opened.get(name);
  }
}

// Where the entries of each row begin, of rows with these numbers of entries.
function startsOf(sizes) {
  const starts = new Uint32Array(sizes.length + 1);
  for (let at = 0; at < sizes.length; at += 1) starts[at + 1] = starts[at] + sizes[at];
  return starts;
}
