// Requests that are not tried again. Stands before the scripts of several tabs and shares their scope.

const OFFLINE = "The server does not answer; please try again.";

const reached = (answer) => answer.then((said) => said ?? { error: OFFLINE }, () => ({ error: OFFLINE }));

function lane(call, refused, wanted = () => true) {   // one request in flight; meanwhile only the newest is remembered
  let next = null, running = false;
  return async (request, receive) => {
    next = { request, receive };
    if (running) return;
    running = true;
    while (next) {
      const wish = next;
      next = null;
      const answer = await reached(call(wish.request));
      if (answer.stale || !wanted(wish.request)) continue;
      if (answer.error) refused(answer.error);
      else await wish.receive(answer, next === null);
    }
    running = false;
  };
}
