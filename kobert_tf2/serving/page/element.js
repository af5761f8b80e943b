"use strict";
// Loaded before a page's own script, which may look at its form.
const element = (id) => document.getElementById(id);
