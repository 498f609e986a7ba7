import { laneSuites } from './lane-suites.js';

laneSuites('PostgreSQL', () => 'postgres');
