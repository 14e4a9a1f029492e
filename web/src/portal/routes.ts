import { Routes } from "../shared/routes";

/** The pages of the portal. */
export const routes = new Routes([
  [/^\/$/, () => import("./pages/Home.svelte")],
  [/^\/new$/, () => import("./pages/Home.svelte")],
  [/^\/new\/[^/]+$/, () => import("./pages/NewTicket.svelte")],
  [/^\/tickets$/, () => import("./pages/Tickets.svelte")],
  [/^\/tickets\/[^/]+$/, () => import("./pages/Ticket.svelte")],
  [/^\/notifications$/, () => import("../shared/pages/Notifications.svelte")],
  [/^\/account$/, () => import("../shared/pages/Account.svelte")],
  [/^\/sign-in$/, () => import("../shared/pages/SignIn.svelte")],
]);
