import { serve } from "@hookmux/sdk";
import { RateLimit } from "./plugin.js";

serve(RateLimit);
