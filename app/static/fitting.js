// A user's picture with the code that was read of it, or with a closer one: the base says which (app/closer.py). Stands
// before the scripts of several tabs and shares their scope.

const FIT = "Fit more closely", FITTED = "Back to the first reading";

const isFitted = (base) => base.startsWith("closer:");
const asRead = (base) => base.replace(/^closer:/, "upload:");
