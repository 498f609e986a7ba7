import { laneSuite } from './lane-suite.js';

laneSuite('PostgreSQL', () => 'postgres');
