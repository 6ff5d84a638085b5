module.exports = require('../dist/ipc.js');
