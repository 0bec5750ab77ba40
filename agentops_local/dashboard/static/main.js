// What every page has: times in the viewer's zone, keys, light and dark, and what is new.

import { localise } from "./time.js";
import { listen } from "./live.js";
import "./keys.js";
import "./theme.js";

localise(document);
listen();
