"""The console: plain files, served as they are. `console.js` is where it begins; each view has a module of its own."""
