// @ts-ignore -- until TypeScript 5.8 a CommonJS file must not name an ES module; Node has been able to since 20.19.
import ipc = require('../dist/ipc.js');
export = ipc;
