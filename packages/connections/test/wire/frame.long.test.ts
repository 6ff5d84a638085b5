import { describeFrames } from '../support/describe-frames.js';

// 16 MB: the shortest payload with which four bytes of the length differ. RFC 6455 §5.2.
describeFrames([[0x1020304, [127, 0, 0, 0, 0, 1, 2, 3, 4]]]);
