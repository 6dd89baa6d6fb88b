export { allow, deny, drop, noOpinion, pass, rewrite } from "./answers.js";
export { Unavailable } from "./call.js";
export { duration, mapOf } from "./config.js";
export { log } from "./log.js";
export { Plugin } from "./plugin.js";
export { serve } from "./serve.js";
export { checkFilter, covers } from "./topics.js";
