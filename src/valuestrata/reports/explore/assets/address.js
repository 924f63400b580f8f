// Filters in the address of the page, after #explore, so that links, the back button and bookmarks work.
const NAMES = ["run", "versus", "topic", "attribute", "subgroup", "item", "outcome", "search", "codes", "gold", "answer", "pair", "sort"];

// The filters of the address, every name with a text; null if the address is of another part of the page.
function readAddress() {
  const [place, query] = location.hash.slice(1).split(/\?(.*)/s);
  if (place !== "explore") return null;
  const given = new URLSearchParams(query || "");
  return Object.fromEntries(NAMES.map((name) => [name, given.get(name) || ""]));
}

function addressOf(filters) {
  const query = new URLSearchParams(NAMES.filter((name) => filters[name]).map((name) => [name, filters[name]]));
  return query.size ? `#explore?${query}` : "#explore";
}
