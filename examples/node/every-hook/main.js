import { serve } from "@hookmux/sdk";
import { EveryHook } from "./plugin.js";

serve(EveryHook);
