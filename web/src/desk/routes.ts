import { Routes } from "../shared/routes";

/** The pages of the desk. */
export const routes = new Routes([
  [/^\/desk\/?$/, () => import("./pages/Queue.svelte")],
  [/^\/desk\/tickets\/[^/]+$/, () => import("./pages/Ticket.svelte")],
  [/^\/desk\/search$/, () => import("./pages/Search.svelte")],
  [/^\/desk\/new$/, () => import("./pages/NewTicket.svelte")],
  [/^\/desk\/people$/, () => import("./pages/People.svelte")],
  [/^\/desk\/people\/[^/]+$/, () => import("./pages/Person.svelte")],
  [/^\/desk\/figures$/, () => import("./pages/Figures.svelte")],
  [/^\/desk\/admin$/, () => import("./pages/Admin.svelte")],
  [/^\/desk\/notifications$/, () => import("../shared/pages/Notifications.svelte")],
  [/^\/desk\/account$/, () => import("../shared/pages/Account.svelte")],
  [/^\/desk\/sign-in$/, () => import("../shared/pages/SignIn.svelte")],
]);
